//! Creates tasks and looks at them from the command line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;
use tasker_client::TaskerClient;
use tasker_shared::model::{CreateTaskRequest, TaskStatus};
use uuid::Uuid;

#[derive(Parser)]
#[command(name = "tasker-cli", version, about)]
struct Cli {
    /// Where tasker-server listens
    #[arg(
        long,
        env = "TASKER_ORCHESTRATION_URL",
        default_value = "http://localhost:8080"
    )]
    orchestration_url: String,
    /// Where a worker listens
    #[arg(
        long,
        env = "TASKER_WORKER_URL",
        default_value = "http://localhost:8081"
    )]
    worker_url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create tasks and look at them
    #[command(subcommand)]
    Task(TaskCommand),
    /// Ask both servers whether they run
    Health,
}

#[derive(Subcommand)]
enum TaskCommand {
    /// Create a task; with --wait, exit with 1 unless it completes
    Create {
        namespace: String,
        /// A JSON object
        #[arg(long, default_value = "{}")]
        context: String,
        /// Wait up to this many seconds for the end and print the task
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Print one task with its steps
    Get { id: Uuid },
    /// Print the newest tasks
    List {
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let timeout = Duration::from_secs(10);
    let orchestration = TaskerClient::new(&cli.orchestration_url, timeout)?;
    match cli.command {
        Command::Task(TaskCommand::Create {
            namespace,
            context,
            wait,
        }) => {
            let context = serde_json::from_str(&context).context("--context is not valid JSON")?;
            let created = orchestration
                .create_task(&CreateTaskRequest { namespace, context })
                .await?;
            let Some(seconds) = wait else {
                print(&created)?;
                return Ok(ExitCode::SUCCESS);
            };
            let patience = Duration::from_secs(seconds);
            let task = orchestration
                .wait_for_task(created.task_id, patience)
                .await?;
            print(&task)?;
            Ok(exit_code(task.status == TaskStatus::Complete))
        }
        Command::Task(TaskCommand::Get { id }) => {
            print(&orchestration.task(id).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Task(TaskCommand::List { limit }) => {
            print(&orchestration.tasks(limit).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Health => {
            let worker = TaskerClient::new(&cli.worker_url, timeout)?;
            let mut all_well = true;
            for (name, client) in [("orchestration", orchestration), ("worker", worker)] {
                match client.health().await {
                    Ok(health) => println!("{name}: {health}"),
                    Err(error) => {
                        println!("{name}: {error}");
                        all_well = false;
                    }
                }
            }
            Ok(exit_code(all_well))
        }
    }
}

fn print(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
