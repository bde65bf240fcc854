//! PGMQ queues through checked queries, with LISTEN/NOTIFY to wake their readers.
//!
//! Every function takes any executor, so that a message can be sent or archived in the same transaction as the change it belongs to.
//! A notification is only a hint that there may be something to read: readers must still poll, because hints can be lost.

mod listen;

pub use listen::{listen, Wake};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

/// The channel of every notification; the payload is the name of the queue.
pub const CHANNEL: &str = "pgmq_notify";

/// A message that was read and is hidden from other readers until its visibility timeout ends.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: i64,
    /// How often it has been read, this time included.
    pub read_count: i32,
    pub enqueued_at: DateTime<Utc>,
    pub body: Value,
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueMetrics {
    pub length: i64,
    pub visible: i64,
    pub oldest_age_seconds: Option<i32>,
    pub total: i64,
}

/// Sends `body` and wakes the listeners once the surrounding transaction commits.
pub async fn send(db: impl PgExecutor<'_>, queue: &str, body: &Value) -> sqlx::Result<i64> {
    // The functions stand in FROM because pg_notify returns void, which has no place in a result row.
    sqlx::query_scalar!(
        r#"SELECT sent.id AS "id!"
           FROM pgmq.send($1::text, $2::jsonb) AS sent(id) CROSS JOIN pg_notify($3::text, $1::text)"#,
        queue,
        body,
        CHANNEL
    )
    .fetch_one(db)
    .await
}

/// Takes up to `quantity` visible messages and hides them for `visibility_seconds`.
pub async fn read(
    db: impl PgExecutor<'_>,
    queue: &str,
    visibility_seconds: i32,
    quantity: i32,
) -> sqlx::Result<Vec<Message>> {
    sqlx::query_as!(
        Message,
        r#"SELECT msg_id AS "id!", read_ct AS "read_count!", enqueued_at AS "enqueued_at!", message AS "body!"
           FROM pgmq.read($1::text, $2::integer, $3::integer)"#,
        queue,
        visibility_seconds,
        quantity
    )
    .fetch_all(db)
    .await
}

/// Moves a message to the archive of its queue; false if it was not there any more.
pub async fn archive(db: impl PgExecutor<'_>, queue: &str, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT pgmq.archive($1::text, $2::bigint) AS "archived!""#,
        queue,
        id
    )
    .fetch_one(db)
    .await
}

/// Hides a message for `seconds` from now; false if it was not there any more.
pub async fn postpone(
    db: impl PgExecutor<'_>,
    queue: &str,
    id: i64,
    seconds: i32,
) -> sqlx::Result<bool> {
    let row = sqlx::query!(
        "SELECT msg_id FROM pgmq.set_vt($1::text, $2::bigint, $3::integer)",
        queue,
        id,
        seconds
    )
    .fetch_optional(db)
    .await?;
    Ok(row.is_some())
}

/// Creates the queue; nothing happens if it exists.
pub async fn create(db: impl PgExecutor<'_>, queue: &str) -> sqlx::Result<()> {
    sqlx::query!("SELECT FROM pgmq.create($1::text)", queue)
        .execute(db)
        .await?;
    Ok(())
}

/// The names of all queues.
pub async fn list(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(r#"SELECT queue_name::text AS "name!" FROM pgmq.list_queues() ORDER BY 1"#)
        .fetch_all(db)
        .await
}

/// Which of `wanted` do not exist.
pub async fn missing(db: impl PgExecutor<'_>, wanted: &[String]) -> sqlx::Result<Vec<String>> {
    let existing = list(db).await?;
    Ok(wanted
        .iter()
        .filter(|name| !existing.contains(name))
        .cloned()
        .collect())
}

/// How full `queue` is.
pub async fn metrics(db: impl PgExecutor<'_>, queue: &str) -> sqlx::Result<QueueMetrics> {
    sqlx::query_as!(
        QueueMetrics,
        r#"SELECT queue_length AS "length!", queue_visible_length AS "visible!",
                  oldest_msg_age_sec AS oldest_age_seconds, total_messages AS "total!"
           FROM pgmq.metrics($1::text)"#,
        queue
    )
    .fetch_one(db)
    .await
}
