//! wasm-worker: does steps in a sandbox. Which steps it can do is up to the module.

mod sandbox;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use tasker_worker::{cli, HandlerRegistry, Handling, Profile, StepError, StepHandler, StepInput};

use crate::sandbox::{Limits, Sandbox};

/// Every instance has memory of its own.
const AT_ONCE: usize = 8;

/// The WASM worker of Tasker; without a command it works
#[derive(Parser)]
#[command(name = "wasm-worker", version)]
struct Cli {
    /// The compiled handlers
    #[arg(long, env = "WASM_MODULE", value_name = "FILE")]
    module: PathBuf,
    /// What a step may use of the processor; a simple instruction costs 1
    #[arg(long, env = "WASM_FUEL", default_value_t = 200_000_000)]
    fuel: u64,
    /// What a step may use of memory
    #[arg(
        long,
        env = "WASM_MEMORY_MIB",
        value_name = "MIB",
        default_value_t = 16
    )]
    memory: usize,
    #[command(subcommand)]
    command: Option<cli::Command>,
}

/// Every handler of the module.
struct InSandbox(Arc<Sandbox>);

impl StepHandler for InSandbox {
    fn handle<'a>(&'a self, input: &'a StepInput) -> Handling<'a> {
        let (sandbox, input) = (self.0.clone(), input.clone());
        Box::pin(async move {
            // It computes without pause, so not on the threads that everything else runs on. Fuel ends it in any case.
            let call = tokio::task::spawn_blocking(move || sandbox.handle(&input));
            call.await.unwrap_or_else(|error| {
                Err(StepError::retryable(format!("the sandbox broke: {error}")))
            })
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tasker_shared::exit_code(run(Cli::parse()).await)
}

async fn run(args: Cli) -> anyhow::Result<ExitCode> {
    let registry = HandlerRegistry::new();
    let (namespaces, handlers) = match args.command {
        // Asking the running worker needs no module.
        Some(_) => (Vec::new(), registry),
        None => {
            let limits = Limits {
                fuel: args.fuel,
                memory_bytes: args.memory.saturating_mul(1 << 20),
            };
            let module = std::fs::read(&args.module)
                .with_context(|| format!("module {}", args.module.display()))?;
            let sandbox = Sandbox::new(&module, limits)
                .with_context(|| format!("module {}", args.module.display()))?;
            let names = sandbox.handlers()?;
            let sandbox = Arc::new(sandbox);
            let handlers = names.iter().fold(registry, |registry, name| {
                registry.with(name, InSandbox(sandbox.clone()))
            });
            (namespaces(&names), handlers)
        }
    };
    let profile = Profile {
        program: "wasm-worker",
        language: "wasm".to_owned(),
        namespaces,
        handlers,
        at_once: Some(AT_ONCE),
    };
    cli::run(profile, args.command).await
}

/// The word before the dot of a handler's name is its namespace.
fn namespaces(handlers: &[String]) -> Vec<String> {
    let mut names: Vec<String> = handlers
        .iter()
        .filter_map(|name| name.split_once('.'))
        .map(|(namespace, _)| namespace.to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_come_from_the_handlers() {
        let names = ["b.x", "a.y", "b.z", "odd"].map(str::to_owned);
        assert_eq!(namespaces(&names), ["a", "b"]);
    }
}
