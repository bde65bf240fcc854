//! Looks at PGMQ queues by hand: list them, send to one, watch the notifications.

use anyhow::Context;
use clap::{Parser, Subcommand};
use sqlx::postgres::PgListener;
use sqlx::PgPool;

#[derive(Parser)]
#[command(name = "pgmq-notify-cli", version, about)]
struct Cli {
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every queue with its length
    List,
    /// Send a JSON message
    Send { queue: String, message: String },
    /// Print the name of each queue that gets a message
    Watch,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let pool = PgPool::connect(&cli.database_url)
        .await
        .context("cannot connect to the database")?;
    match cli.command {
        Command::List => {
            for queue in pgmq_notify::list(&pool).await? {
                let metrics = pgmq_notify::metrics(&pool, &queue).await?;
                println!(
                    "{queue}: {} waiting, {} visible, {} ever",
                    metrics.length, metrics.visible, metrics.total
                );
            }
        }
        Command::Send { queue, message } => {
            let body = serde_json::from_str(&message).context("the message is not valid JSON")?;
            println!("{}", pgmq_notify::send(&pool, &queue, &body).await?);
        }
        Command::Watch => {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(pgmq_notify::CHANNEL).await?;
            loop {
                println!("{}", listener.recv().await?.payload());
            }
        }
    }
    Ok(())
}
