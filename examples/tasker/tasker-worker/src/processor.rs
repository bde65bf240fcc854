//! The loop that claims steps from the queues, and what happens to each of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgmq_notify::{Message, Wake};
use sqlx::PgPool;
use tasker_shared::config::{Config, SettingsReceiver};
use tasker_shared::messages::{StepMessage, StepOutcome, StepResultMessage};
use tasker_shared::steps;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::handler::{HandlerRegistry, StepError, StepInput};
use crate::status::{Ending, Status};

/// How much of the visibility timeout is left for writing the report after the last moment of a handler.
const REPORT_RESERVE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Processor {
    pub db: PgPool,
    pub settings: SettingsReceiver,
    pub namespaces: Arc<[String]>,
    pub handlers: HandlerRegistry,
    /// More steps than this are never in flight, whatever the configuration says.
    pub at_once: usize,
    pub status: Status,
    pub wake: Wake,
}

impl Processor {
    /// Claims and handles steps until `drain`, then finishes those that were claimed, but not for longer than `grace`.
    pub async fn run(self, drain: CancellationToken, grace: Duration) {
        let mut attempts = JoinSet::new();
        let mut first = 0;
        while !drain.is_cancelled() {
            self.status.heartbeat.beat();
            let config = self.settings.get().config.clone();
            while attempts.try_join_next().is_some() {}

            let limit = usize::from(config.worker.max_concurrent_steps).min(self.at_once);
            let room = limit.saturating_sub(attempts.len());
            if room == 0 {
                drain.run_until_cancelled(attempts.join_next()).await;
                continue;
            }
            // Each round starts with another queue, so that a full one cannot keep the others waiting.
            first = (first + 1) % self.namespaces.len().max(1);
            match self.claim(&config, first, room, &mut attempts).await {
                Ok(0) => {
                    let idle = self.wake.wait(config.worker.poll_interval());
                    drain.run_until_cancelled(idle).await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the queues cannot be read, trying again");
                    let pause = tokio::time::sleep(Duration::from_secs(2));
                    drain.run_until_cancelled(pause).await;
                }
            }
        }
        self.finish(attempts, grace).await;
    }

    /// Reads every queue once; returns how many steps were claimed.
    async fn claim(
        &self,
        config: &Config,
        first: usize,
        room: usize,
        attempts: &mut JoinSet<()>,
    ) -> sqlx::Result<usize> {
        let mut claimed = 0;
        for offset in 0..self.namespaces.len() {
            let namespace = &self.namespaces[(first + offset) % self.namespaces.len()];
            let wanted = (room - claimed).min(config.worker.batch_size.into());
            if wanted == 0 {
                break;
            }
            let queue = config.queues.worker(namespace);
            let messages = pgmq_notify::read(
                &self.db,
                &queue,
                config.worker.visibility_timeout_seconds.into(),
                i32::try_from(wanted).unwrap_or(i32::MAX),
            )
            .await?;
            claimed += messages.len();
            for message in messages {
                let (processor, queue) = (self.clone(), queue.clone());
                let in_flight = self.status.begin();
                attempts.spawn(async move {
                    let id = message.id;
                    if let Err(error) = processor.process(&queue, message).await {
                        // The message becomes visible again, here or elsewhere.
                        tracing::warn!(queue, message_id = id, %error, "step not reported");
                    }
                    drop(in_flight);
                });
            }
        }
        Ok(claimed)
    }

    async fn finish(&self, mut attempts: JoinSet<()>, grace: Duration) {
        tracing::info!(
            steps = attempts.len(),
            "no new steps are taken, finishing those in flight"
        );
        let all = async { while attempts.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(
                steps = attempts.len(),
                "steps left behind: they are tried again after their visibility timeout"
            );
        }
    }

    /// One attempt at one step, from the message to the report.
    async fn process(&self, queue: &str, message: Message) -> anyhow::Result<()> {
        let attempt = message.read_count;
        let step: StepMessage = match serde_json::from_value(message.body) {
            Ok(step) => step,
            Err(error) => {
                tracing::error!(queue, message_id = message.id, %error, "no step message, put aside in the archive");
                pgmq_notify::archive(&self.db, queue, message.id).await?;
                return Ok(());
            }
        };
        let namespace = step.namespace.clone();
        let claimed = steps::claim(
            &self.db,
            step.task_id,
            step.step_id,
            attempt,
            &self.status.identity,
        );
        if !claimed.await? {
            pgmq_notify::archive(&self.db, queue, message.id).await?;
            self.status.count(&namespace, Ending::Duplicate);
            return Ok(());
        }

        let config = self.settings.get().config.clone();
        let (task_id, step_id, max_attempts) = (step.task_id, step.step_id, step.max_attempts);
        let label = format!("{namespace}/{}", step.step_name);
        let start = Instant::now();
        let outcome = if attempt > max_attempts {
            // The earlier attempts ended without a word: their workers died or were too slow.
            Err(StepError::permanent("no worker survived an attempt"))
        } else {
            self.attempt(
                StepInput { step, attempt },
                config.worker.attempt_time_limit(),
            )
            .await
        };
        metrics::histogram!("tasker_worker_attempt_seconds", "namespace" => namespace.clone())
            .record(start.elapsed().as_secs_f64());

        let (outcome, ending) = match outcome {
            Ok(result) => {
                tracing::info!(%task_id, step = label, attempt, "step complete");
                (StepOutcome::Complete { result }, Ending::Completed)
            }
            Err(error) if error.retryable && attempt < max_attempts => {
                let delay = config.backoff.delay_seconds(attempt.unsigned_abs());
                tracing::warn!(%task_id, step = label, attempt, delay, error = error.message, "step will be tried again");
                let delay = i32::try_from(delay).unwrap_or(i32::MAX);
                pgmq_notify::postpone(&self.db, queue, message.id, delay).await?;
                self.status.count(&namespace, Ending::Retried);
                return Ok(());
            }
            Err(StepError { message, .. }) => {
                tracing::error!(%task_id, step = label, attempt, error = message, "step failed");
                (StepOutcome::Error { message }, Ending::Failed)
            }
        };
        let report = StepResultMessage {
            task_id,
            step_id,
            attempts: attempt.min(max_attempts),
            worker: (*self.status.identity).clone(),
            outcome,
        };
        // Report and acknowledgement are one transaction: neither can happen without the other.
        let mut transaction = self.db.begin().await?;
        let body = serde_json::to_value(report)?;
        pgmq_notify::send(&mut *transaction, &config.queues.step_results, &body).await?;
        pgmq_notify::archive(&mut *transaction, queue, message.id).await?;
        transaction.commit().await?;
        self.status.count(&namespace, ending);
        Ok(())
    }

    /// Calls the handler on a task of its own, so that a panic ends this attempt only.
    async fn attempt(
        &self,
        input: StepInput,
        visibility: Duration,
    ) -> Result<serde_json::Value, StepError> {
        let name = &input.step.handler;
        let Some(handler) = self.handlers.get(name) else {
            return Err(StepError::permanent(format!(
                "there is no handler '{name}'"
            )));
        };
        let limit = visibility
            .saturating_sub(REPORT_RESERVE)
            .max(Duration::from_secs(1));
        let mut call = JoinSet::new();
        call.spawn(async move { handler.handle(&input).await });
        // Dropping the set, as a timeout does, aborts the call.
        match tokio::time::timeout(limit, call.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(error))) => {
                Err(StepError::retryable(format!("the handler broke: {error}")))
            }
            Ok(None) => Err(StepError::retryable("the handler vanished")),
            Err(_) => Err(StepError::retryable(format!(
                "not done after {} s",
                limit.as_secs()
            ))),
        }
    }
}

#[cfg(all(test, feature = "test-utils"))]
mod tests {
    use super::*;
    use serde_json::{json, Value};
    use std::collections::BTreeMap;
    use tasker_shared::messages::WorkerIdentity;
    use tasker_shared::{database, test_utils};
    use uuid::Uuid;

    fn processor(handlers: HandlerRegistry) -> Processor {
        let settings = test_utils::settings();
        let db = database::pool(&test_utils::source(), &settings.config.database, "test")
            .expect("a lazy pool");
        Processor {
            db,
            settings: SettingsReceiver::fixed(settings),
            namespaces: Arc::from(["payments".to_owned()]),
            handlers,
            at_once: usize::MAX,
            status: Status::new(WorkerIdentity {
                worker_id: "w".to_owned(),
                language: "rust".to_owned(),
                instance: "here".to_owned(),
            }),
            wake: Wake::default(),
        }
    }

    fn input(handler: &str) -> StepInput {
        StepInput {
            attempt: 1,
            step: StepMessage {
                task_id: Uuid::nil(),
                step_id: Uuid::nil(),
                namespace: "payments".to_owned(),
                step_name: "s".to_owned(),
                handler: handler.to_owned(),
                max_attempts: 3,
                context: json!({}),
                dependency_results: BTreeMap::new(),
            },
        }
    }

    fn good(_: &StepInput) -> Result<Value, StepError> {
        Ok(json!(1))
    }

    fn broken(_: &StepInput) -> Result<Value, StepError> {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn handlers_are_called_by_name_and_may_panic() {
        let handlers = HandlerRegistry::new()
            .with_fn("good", good)
            .with_fn("broken", broken);
        let processor = processor(handlers);
        let limit = Duration::from_secs(10);
        assert_eq!(processor.attempt(input("good"), limit).await, Ok(json!(1)));
        let panicked = processor.attempt(input("broken"), limit).await;
        assert!(panicked.is_err_and(|error| error.retryable));
        let unknown = processor.attempt(input("unknown"), limit).await;
        assert!(unknown.is_err_and(|error| !error.retryable));
    }

    #[tokio::test]
    async fn draining_ends_the_loop_without_a_database() {
        let drain = CancellationToken::new();
        let grace = Duration::from_secs(1);
        let run = tokio::spawn(processor(HandlerRegistry::new()).run(drain.clone(), grace));
        drain.cancel();
        tokio::time::timeout(Duration::from_secs(10), run)
            .await
            .expect("the loop ends")
            .expect("without a panic");
    }
}
