//! rust-worker: works for the eight namespaces of the example, and sets up the database.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tasker_shared::config::{ConfigSource, Settings};
use tasker_shared::{database, telemetry};
use tasker_worker::cli;

/// The Rust worker of Tasker; without a command it works
#[derive(Parser)]
#[command(name = "rust-worker", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Worker(cli::Command),
    /// Bring the database up to date: schema and queues. Run it once, before the services start
    Migrate(MigrateArgs),
}

#[derive(Args)]
struct MigrateArgs {
    /// How long to wait for a database that does not answer yet
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    tasker_shared::exit_code(run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    let command = match Cli::parse().command {
        Some(Command::Migrate(args)) => return migrate(&args).await,
        Some(Command::Worker(command)) => Some(command),
        None => None,
    };
    cli::run(tasker_worker_rust::profile(), command).await
}

async fn migrate(args: &MigrateArgs) -> anyhow::Result<ExitCode> {
    let source = ConfigSource::from_process()?;
    let settings = Settings::load(&source)?;
    telemetry::init_logs(&source, &settings.config.telemetry)?;
    let db = database::pool(&source, &settings.config.database, "rust-worker migrate")?;
    let patience = Duration::from_secs(args.wait);
    tasker_core::migrations::set_up(&db, &settings, patience)
        .await
        .context("the database was not set up")?;
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
