//! The one thing a worker does to the tables itself: claim the step that a message speaks of.

use sqlx::PgPool;
use uuid::Uuid;

use crate::messages::WorkerIdentity;

/// Marks the step as being worked on; false if it is finished or gone, so that the message is a duplicate.
pub async fn claim(
    db: &PgPool,
    task_id: Uuid,
    step_id: Uuid,
    attempt: i32,
    worker: &WorkerIdentity,
) -> sqlx::Result<bool> {
    let claimed = sqlx::query!(
        "UPDATE tasker_workflow_steps
         SET status = 'in_progress', attempts = $3, worker_id = $4, worker_language = $5, worker_instance = $6
         WHERE step_id = $1 AND task_id = $2 AND status IN ('enqueued', 'in_progress')",
        step_id,
        task_id,
        attempt,
        worker.worker_id,
        worker.language,
        worker.instance
    )
    .execute(db)
    .await?
    .rows_affected();
    if claimed == 0 {
        return Ok(false);
    }
    // A statement of its own: the orchestration locks task before step, and taking both here the other way round could deadlock.
    sqlx::query!(
        "UPDATE tasker_tasks SET status = 'in_progress', updated_at = now() WHERE task_id = $1 AND status = 'pending'",
        task_id
    )
    .execute(db)
    .await?;
    Ok(true)
}
