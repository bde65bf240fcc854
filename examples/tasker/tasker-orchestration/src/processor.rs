//! The loop that reads the orchestration's own queues.

use std::time::Duration;

use pgmq_notify::{Message, Wake};
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use tasker_shared::config::{Settings, SettingsReceiver};
use tasker_shared::messages::{FinalizeMessage, StepResultMessage, TaskRequestMessage};
use tasker_shared::readiness::Heartbeat;
use tokio_util::sync::CancellationToken;

use crate::tasks::{self, TaskError};

/// Which of the three queues a message came from.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Result,
    Request,
    Finalization,
}

/// Reads the three queues until `drain`; what has been read is processed to the end.
pub async fn run(
    db: PgPool,
    settings: SettingsReceiver,
    wake: Wake,
    heartbeat: Heartbeat,
    drain: CancellationToken,
) {
    while !drain.is_cancelled() {
        heartbeat.beat();
        let now = settings.get();
        match process_all(&db, &now).await {
            Ok(0) => {
                let poll = now.config.orchestration.poll_interval();
                drain.run_until_cancelled(wake.wait(poll)).await;
            }
            Ok(count) => tracing::debug!(count, "messages processed"),
            Err(error) => {
                tracing::warn!(%error, "the queues cannot be read, trying again");
                drain
                    .run_until_cancelled(tokio::time::sleep(Duration::from_secs(2)))
                    .await;
            }
        }
    }
}

/// One round over the queues; returns how many messages there were.
async fn process_all(db: &PgPool, settings: &Settings) -> Result<usize, sqlx::Error> {
    let queues = &settings.config.queues;
    let limits = &settings.config.orchestration;
    let mut count = 0;
    for (kind, queue) in [
        (Kind::Result, &queues.step_results),
        (Kind::Request, &queues.task_requests),
        (Kind::Finalization, &queues.task_finalizations),
    ] {
        let messages = pgmq_notify::read(
            db,
            queue,
            limits.visibility_timeout_seconds.into(),
            limits.batch_size.into(),
        )
        .await?;
        count += messages.len();
        for message in messages {
            let id = message.id;
            match process(db, settings, kind, queue, message).await {
                // The database refused this one message: the others can still do.
                Err(error) if error.as_database_error().is_some() => {
                    tracing::error!(queue, message_id = id, %error, "message not processed, it comes back");
                }
                outcome => outcome?,
            }
        }
    }
    Ok(count)
}

/// Processes one message and archives it in the same transaction. Only a failing database is an error: then the message
/// becomes visible again by itself.
async fn process(
    db: &PgPool,
    settings: &Settings,
    kind: Kind,
    queue: &str,
    message: Message,
) -> Result<(), sqlx::Error> {
    let mut transaction = db.begin().await?;
    let handled = match kind {
        _ if message.read_count > i32::from(settings.config.orchestration.max_reads) => {
            Err("it was read too often".to_owned())
        }
        Kind::Result => match parse::<StepResultMessage>(&message) {
            Ok(result) => settle(tasks::record_result(&mut transaction, settings, &result).await)?,
            Err(reason) => Err(reason),
        },
        Kind::Request => match parse::<TaskRequestMessage>(&message) {
            Ok(request) => settle(
                tasks::create(
                    &mut transaction,
                    settings,
                    &request.namespace,
                    &request.context,
                )
                .await
                .map(|_| ()),
            )?,
            Err(reason) => Err(reason),
        },
        Kind::Finalization => match parse::<FinalizeMessage>(&message) {
            Ok(finalize) => settle(tasks::finalize(&mut transaction, finalize.task_id).await)?,
            Err(reason) => Err(reason),
        },
    };
    if let Err(reason) = handled {
        tracing::error!(
            queue,
            message_id = message.id,
            reason,
            "message put aside in the archive"
        );
    }
    pgmq_notify::archive(&mut *transaction, queue, message.id).await?;
    transaction.commit().await?;
    metrics::counter!("tasker_orchestration_messages_total", "queue" => queue.to_owned())
        .increment(1);
    Ok(())
}

fn parse<T: DeserializeOwned>(message: &Message) -> Result<T, String> {
    serde_json::from_value(message.body.clone()).map_err(|error| error.to_string())
}

/// Separates a database that fails, which may work again later, from a message that will never do.
fn settle(outcome: Result<(), TaskError>) -> Result<Result<(), String>, sqlx::Error> {
    match outcome {
        Ok(()) => Ok(Ok(())),
        Err(TaskError::Database(error)) => Err(error),
        Err(hopeless) => Ok(Err(hopeless.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_database_errors_are_tried_again() {
        assert!(settle(Err(TaskError::Database(sqlx::Error::PoolTimedOut))).is_err());
        let hopeless = settle(Err(TaskError::ContextIsNoObject)).expect("not the database");
        assert!(hopeless.is_err());
    }
}
