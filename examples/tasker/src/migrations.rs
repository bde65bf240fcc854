//! Brings the database up to date: the schema first, then the queues that follow from the task templates.

use std::collections::BTreeSet;
use std::time::Duration;

use pgmq_notify::create;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::PgPool;
use tasker_shared::config::Settings;

pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    #[error("migration failed")]
    Migration(#[from] MigrateError),
    #[error("queue '{queue}' cannot be created")]
    Queue {
        queue: String,
        #[source]
        cause: sqlx::Error,
    },
}

/// Waits for the database, runs the migrations that are missing and creates the queues that are missing. Safe to run twice, and
/// at the same time: the migrator holds a lock in the database, and so does PGMQ for each queue.
pub async fn set_up(
    db: &PgPool,
    settings: &Settings,
    patience: Duration,
) -> Result<(), SetupError> {
    wait_for(db, patience).await?;
    MIGRATOR.run(db).await?;
    let wanted = queues(settings);
    let existing = pgmq_notify::list(db)
        .await
        .map_err(SetupError::Unreachable)?;
    for queue in wanted.iter().filter(|queue| !existing.contains(queue)) {
        create(db, queue).await.map_err(|cause| SetupError::Queue {
            queue: queue.clone(),
            cause,
        })?;
        tracing::info!(queue, "queue created");
    }
    tracing::info!(
        version = tasker_shared::SCHEMA_VERSION,
        queues = wanted.len(),
        "the database is up to date"
    );
    Ok(())
}

/// The queues of the orchestration, of the workers that templates name and of every configured namespace.
fn queues(settings: &Settings) -> BTreeSet<String> {
    let config = &settings.config;
    let configured = config.worker.namespaces.iter().map(String::as_str);
    let workers = settings
        .templates
        .worker_namespaces()
        .into_iter()
        .chain(configured)
        .map(|namespace| config.queues.worker(namespace));
    config
        .queues
        .orchestration()
        .into_iter()
        .chain(workers)
        .collect()
}

async fn wait_for(db: &PgPool, patience: Duration) -> Result<(), SetupError> {
    let end = tokio::time::Instant::now() + patience;
    loop {
        match db.acquire().await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= end => {
                return Err(SetupError::Unreachable(error));
            }
            Err(error) => tracing::info!(%error, "waiting for the database"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_expect_the_newest_migration() {
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        assert_eq!(newest, Some(tasker_shared::SCHEMA_VERSION));
    }

    #[cfg(feature = "test-utils")]
    #[test]
    fn every_namespace_with_workers_has_a_queue() {
        let queues = queues(&crate::test_helpers::settings());
        assert_eq!(queues.len(), 21);
        assert!(!queues.contains("worker_polyglot_workflow_queue"));
        assert!(queues.contains("worker_order_fulfillment_queue"));
    }
}
