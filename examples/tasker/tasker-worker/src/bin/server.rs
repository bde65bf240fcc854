//! tasker-worker: a worker that does every step by saying what it was given. It shows the flow of a workflow before its
//! handlers are written.

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use tasker_worker::{cli, HandlerRegistry, Profile, StepError, StepInput};

/// A Tasker worker with one generic handler; without a command it works
#[derive(Parser)]
#[command(name = "tasker-worker", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<cli::Command>,
}

fn echo(input: &StepInput) -> Result<serde_json::Value, StepError> {
    Ok(json!({
        "handler": input.step.handler,
        "context": input.step.context,
        "received": input.step.dependency_results,
    }))
}

#[tokio::main]
async fn main() -> ExitCode {
    tasker_shared::exit_code(run().await)
}

async fn run() -> anyhow::Result<ExitCode> {
    let namespaces = [
        "linear_workflow",
        "order_fulfillment",
        "inventory",
        "notifications",
        "payments",
    ];
    let profile = Profile {
        program: "tasker-worker",
        language: "rust".to_owned(),
        namespaces: namespaces.map(str::to_owned).to_vec(),
        handlers: HandlerRegistry::new().with_fallback(echo),
        at_once: None,
    };
    cli::run(profile, Cli::parse().command).await
}
