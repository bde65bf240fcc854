//! tasker-server: the orchestration service.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tasker_shared::config::{ConfigSource, Orchestration};
use tasker_shared::probe::HealthcheckArgs;

/// The orchestration service of Tasker; without a command it serves
#[derive(Parser)]
#[command(name = "tasker-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the running server whether it is ready; exits with 0 or 1
    Healthcheck(HealthcheckArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    tasker_shared::exit_code(run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        None => {
            tasker_orchestration::app::serve().await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Healthcheck(args)) => Ok(args
            .run("/ready", || {
                let source = ConfigSource::from_process()?;
                let orchestration: Orchestration = source.load_component("orchestration")?;
                Ok(orchestration.web.bind_address)
            })
            .await),
    }
}
