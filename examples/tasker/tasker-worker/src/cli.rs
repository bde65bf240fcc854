//! The commands that every worker program has.

use std::process::ExitCode;

use clap::Subcommand;
use tasker_shared::config::{ConfigSource, Worker};
use tasker_shared::probe::HealthcheckArgs;
use tasker_shared::shutdown::Shutdown;

use crate::{app, Profile};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the running worker whether it is ready; exits with 0 or 1
    Healthcheck(HealthcheckArgs),
}

/// Runs `command`; without one the worker works until a signal ends it.
pub async fn run(profile: Profile, command: Option<Command>) -> anyhow::Result<ExitCode> {
    match command {
        None => {
            app::serve(profile, Shutdown::on_signals()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Healthcheck(args)) => Ok(if is_ready(&args).await {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }),
    }
}

/// Asks the running worker and prints what it says.
pub(crate) async fn is_ready(args: &HealthcheckArgs) -> bool {
    args.is_healthy("/health/ready", || {
        let source = ConfigSource::from_process()?;
        let worker: Worker = source.load_component("worker")?;
        Ok(worker.web.bind_address)
    })
    .await
}
