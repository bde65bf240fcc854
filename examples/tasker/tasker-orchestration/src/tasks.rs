//! What can happen to a task, as database transactions.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};
use tasker_shared::config::Settings;
use tasker_shared::messages::{
    FinalizeMessage, StepMessage, StepOutcome, StepResultMessage, WorkerIdentity,
};
use tasker_shared::model::{StepView, TaskStatus, TaskSummary, TaskView, UnknownStatus};
use tasker_shared::templates::TaskTemplate;
use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("unknown namespace '{namespace}'; there are: {known}")]
    UnknownNamespace { namespace: String, known: String },
    #[error("the context must be a JSON object")]
    ContextIsNoObject,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the database holds an unknown word: {0}")]
    Status(#[from] UnknownStatus),
    #[error("a message cannot be written as JSON: {0}")]
    Message(#[from] serde_json::Error),
}

/// Stores a task with its steps and enqueues those that need nothing else first.
pub async fn create(
    db: &mut PgConnection,
    settings: &Settings,
    namespace: &str,
    context: &serde_json::Value,
) -> Result<Uuid, TaskError> {
    let Some(template) = settings.templates.get(namespace) else {
        return Err(TaskError::UnknownNamespace {
            namespace: namespace.to_owned(),
            known: settings
                .templates
                .namespaces()
                .collect::<Vec<_>>()
                .join(", "),
        });
    };
    if !context.is_object() {
        return Err(TaskError::ContextIsNoObject);
    }
    let task_id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO tasker_tasks (task_id, namespace, context) VALUES ($1, $2, $3)",
        task_id,
        namespace,
        context
    )
    .execute(&mut *db)
    .await?;
    insert_steps(db, task_id, template).await?;
    let task = LockedTask {
        namespace: namespace.to_owned(),
        context: context.clone(),
    };
    enqueue_ready(db, settings, task_id, &task).await?;
    metrics::counter!("tasker_tasks_created_total", "namespace" => task.namespace).increment(1);
    Ok(task_id)
}

async fn insert_steps(
    db: &mut PgConnection,
    task_id: Uuid,
    template: &TaskTemplate,
) -> Result<(), TaskError> {
    let ids: BTreeMap<&str, Uuid> = template
        .steps
        .iter()
        .map(|step| (step.name.as_str(), Uuid::now_v7()))
        .collect();
    let (mut step_ids, mut names, mut handlers, mut attempts) = (vec![], vec![], vec![], vec![]);
    let (mut edge_steps, mut edge_needs) = (vec![], vec![]);
    for step in &template.steps {
        let id = ids[step.name.as_str()];
        step_ids.push(id);
        names.push(step.name.clone());
        handlers.push(step.handler.clone());
        attempts.push(i32::from(step.max_attempts));
        for needed in &step.depends_on {
            edge_steps.push(id);
            edge_needs.push(ids[needed.as_str()]); // Templates are checked when they are loaded.
        }
    }
    sqlx::query!(
        "INSERT INTO tasker_workflow_steps (step_id, task_id, name, handler, max_attempts, position)
         SELECT s.id, $1, s.name, s.handler, s.attempts, s.position - 1
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::integer[])
              WITH ORDINALITY AS s(id, name, handler, attempts, position)",
        task_id,
        &step_ids,
        &names,
        &handlers,
        &attempts
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "INSERT INTO tasker_workflow_step_edges (step_id, depends_on_step_id)
         SELECT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING",
        &edge_steps,
        &edge_needs
    )
    .execute(&mut *db)
    .await?;
    Ok(())
}

/// What the messages of a task need, read while the task is locked.
struct LockedTask {
    namespace: String,
    context: serde_json::Value,
}

/// Locks the task, so that two results of one task never miss each other; `None` if it is finished or gone.
async fn lock_open(db: &mut PgConnection, task_id: Uuid) -> Result<Option<LockedTask>, TaskError> {
    Ok(sqlx::query_as!(
        LockedTask,
        "SELECT namespace, context FROM tasker_tasks
         WHERE task_id = $1 AND status IN ('pending', 'in_progress') FOR UPDATE",
        task_id
    )
    .fetch_optional(db)
    .await?)
}

/// Sends every pending step whose dependencies are complete to the workers of its namespace.
async fn enqueue_ready(
    db: &mut PgConnection,
    settings: &Settings,
    task_id: Uuid,
    task: &LockedTask,
) -> Result<(), TaskError> {
    let ready = sqlx::query!(
        "UPDATE tasker_workflow_steps s
         SET status = 'enqueued', enqueued_at = now()
         WHERE s.task_id = $1 AND s.status = 'pending' AND NOT EXISTS (
             SELECT 1
             FROM tasker_workflow_step_edges e
             JOIN tasker_workflow_steps needed ON needed.step_id = e.depends_on_step_id
             WHERE e.step_id = s.step_id AND needed.status <> 'complete')
         RETURNING s.step_id, s.name, s.handler, s.max_attempts",
        task_id
    )
    .fetch_all(&mut *db)
    .await?;
    let template = settings.templates.get(&task.namespace);
    for step in ready {
        let namespace =
            template.map_or(&*task.namespace, |known| known.worker_namespace(&step.name));
        let dependency_results = sqlx::query!(
            r#"SELECT needed.name, needed.result AS "result!"
               FROM tasker_workflow_step_edges e
               JOIN tasker_workflow_steps needed ON needed.step_id = e.depends_on_step_id
               WHERE e.step_id = $1"#,
            step.step_id
        )
        .fetch_all(&mut *db)
        .await?
        .into_iter()
        .map(|needed| (needed.name, needed.result))
        .collect();
        let message = StepMessage {
            task_id,
            step_id: step.step_id,
            namespace: namespace.to_owned(),
            step_name: step.name,
            handler: step.handler,
            max_attempts: step.max_attempts,
            context: task.context.clone(),
            dependency_results,
        };
        let queue = settings.config.queues.worker(namespace);
        pgmq_notify::send(&mut *db, &queue, &serde_json::to_value(message)?).await?;
    }
    Ok(())
}

/// Records what a worker reports and sends the steps that became ready. A second report about the same step changes nothing.
pub async fn record_result(
    db: &mut PgConnection,
    settings: &Settings,
    message: &StepResultMessage,
) -> Result<(), TaskError> {
    let queues = &settings.config.queues;
    let Some(task) = lock_open(db, message.task_id).await? else {
        tracing::debug!(task_id = %message.task_id, "a result for a task that is not open");
        return Ok(());
    };
    let (status, result, error) = match &message.outcome {
        StepOutcome::Complete { result } => ("complete", Some(result), None),
        StepOutcome::Error { message } => ("error", None, Some(message)),
    };
    let recorded = sqlx::query!(
        "UPDATE tasker_workflow_steps
         SET status = $3, result = $4, error = $5, attempts = $6,
             worker_id = $7, worker_language = $8, worker_instance = $9, completed_at = now()
         WHERE step_id = $1 AND task_id = $2 AND status IN ('enqueued', 'in_progress')",
        message.step_id,
        message.task_id,
        status,
        result,
        error,
        message.attempts,
        message.worker.worker_id,
        message.worker.language,
        message.worker.instance
    )
    .execute(&mut *db)
    .await?
    .rows_affected();
    if recorded == 0 {
        tracing::debug!(step_id = %message.step_id, "a second result for one step");
        return Ok(());
    }
    enqueue_ready(db, settings, message.task_id, &task).await?;
    if let Some(status) = outcome(db, message.task_id).await? {
        let finalize = FinalizeMessage {
            task_id: message.task_id,
            status,
        };
        let body = serde_json::to_value(finalize)?;
        pgmq_notify::send(&mut *db, &queues.task_finalizations, &body).await?;
    }
    Ok(())
}

/// How the task ends, once no step is under way any more.
async fn outcome(db: &mut PgConnection, task_id: Uuid) -> Result<Option<TaskStatus>, TaskError> {
    let steps = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE status IN ('enqueued', 'in_progress')) AS "under_way!",
                  count(*) FILTER (WHERE status <> 'complete') AS "incomplete!"
           FROM tasker_workflow_steps WHERE task_id = $1"#,
        task_id
    )
    .fetch_one(db)
    .await?;
    Ok(match (steps.under_way, steps.incomplete) {
        (0, 0) => Some(TaskStatus::Complete),
        (0, _) => Some(TaskStatus::Error),
        _ => None,
    })
}

/// Gives the task its final status; nothing happens if it has one already.
pub async fn finalize(db: &mut PgConnection, task_id: Uuid) -> Result<(), TaskError> {
    if lock_open(db, task_id).await?.is_none() {
        return Ok(());
    }
    let Some(status) = outcome(db, task_id).await? else {
        return Ok(());
    };
    let mut error = None;
    if status == TaskStatus::Error {
        let failed = sqlx::query_scalar!(
            r#"SELECT string_agg(name || ': ' || error, '; ' ORDER BY position)
               FROM tasker_workflow_steps WHERE task_id = $1 AND status = 'error'"#,
            task_id
        )
        .fetch_one(&mut *db)
        .await?;
        error = Some(failed.unwrap_or_else(|| "steps are left that can never start".to_owned()));
        sqlx::query!(
            "UPDATE tasker_workflow_steps SET status = 'cancelled', completed_at = now()
             WHERE task_id = $1 AND status = 'pending'",
            task_id
        )
        .execute(&mut *db)
        .await?;
    }
    sqlx::query!(
        "UPDATE tasker_tasks SET status = $2, error = $3, updated_at = now(), completed_at = now()
         WHERE task_id = $1",
        task_id,
        status.as_str(),
        error
    )
    .execute(&mut *db)
    .await?;
    metrics::counter!("tasker_tasks_finalized_total", "status" => status.as_str()).increment(1);
    tracing::info!(%task_id, %status, "task finalized");
    Ok(())
}

pub async fn get(db: &PgPool, task_id: Uuid) -> Result<Option<TaskView>, TaskError> {
    let Some(task) = sqlx::query!(
        "SELECT namespace, context, status, error, created_at, completed_at
         FROM tasker_tasks WHERE task_id = $1",
        task_id
    )
    .fetch_optional(db)
    .await?
    else {
        return Ok(None);
    };
    let steps = sqlx::query!(
        r#"SELECT s.step_id, s.name, s.handler, s.status, s.attempts, s.max_attempts, s.result, s.error,
                  s.worker_id, s.worker_language, s.worker_instance, s.enqueued_at, s.completed_at,
                  ARRAY(SELECT needed.name
                        FROM tasker_workflow_step_edges e
                        JOIN tasker_workflow_steps needed ON needed.step_id = e.depends_on_step_id
                        WHERE e.step_id = s.step_id ORDER BY needed.position) AS "depends_on!"
           FROM tasker_workflow_steps s WHERE s.task_id = $1 ORDER BY s.position"#,
        task_id
    )
    .fetch_all(db)
    .await?;
    let steps = steps
        .into_iter()
        .map(|step| {
            let worker = match (step.worker_id, step.worker_language, step.worker_instance) {
                (Some(worker_id), Some(language), Some(instance)) => Some(WorkerIdentity {
                    worker_id,
                    language,
                    instance,
                }),
                _ => None,
            };
            Ok(StepView {
                step_id: step.step_id,
                name: step.name,
                handler: step.handler,
                status: step.status.parse()?,
                depends_on: step.depends_on,
                attempts: step.attempts,
                max_attempts: step.max_attempts,
                result: step.result,
                error: step.error,
                worker,
                enqueued_at: step.enqueued_at,
                completed_at: step.completed_at,
            })
        })
        .collect::<Result<_, UnknownStatus>>()?;
    Ok(Some(TaskView {
        task_id,
        namespace: task.namespace,
        status: task.status.parse()?,
        context: task.context,
        error: task.error,
        created_at: task.created_at,
        completed_at: task.completed_at,
        steps,
    }))
}

/// The newest tasks first: the ids grow with time.
pub async fn list(
    db: &PgPool,
    namespace: Option<&str>,
    status: Option<TaskStatus>,
    limit: i64,
) -> Result<Vec<TaskSummary>, TaskError> {
    let rows = sqlx::query!(
        "SELECT task_id, namespace, status, created_at, completed_at FROM tasker_tasks
         WHERE ($1::text IS NULL OR namespace = $1) AND ($2::text IS NULL OR status = $2)
         ORDER BY task_id DESC LIMIT $3",
        namespace,
        status.map(TaskStatus::as_str),
        limit
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(TaskSummary {
                task_id: row.task_id,
                namespace: row.namespace,
                status: row.status.parse()?,
                created_at: row.created_at,
                completed_at: row.completed_at,
            })
        })
        .collect()
}
