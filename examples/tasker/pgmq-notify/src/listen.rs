//! Turns notifications into wake-ups.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::CHANNEL;

/// Wakes one reader; several wake-ups before it looks count as one.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Returns when woken or after `poll`, whichever is first.
    pub async fn wait(&self, poll: Duration) {
        let _ = tokio::time::timeout(poll, self.0.notified()).await;
    }
}

/// Listens until cancelled and wakes for the queues that `is_ours` accepts. A lost connection is opened again after `reconnect`.
pub async fn listen(
    pool: PgPool,
    is_ours: impl Fn(&str) -> bool,
    wake: Wake,
    reconnect: Duration,
    stop: CancellationToken,
) {
    while let Some(error) = stop
        .run_until_cancelled(listen_once(&pool, &is_ours, &wake))
        .await
    {
        tracing::warn!(%error, "queue notifications interrupted, polling goes on");
        if stop
            .run_until_cancelled(tokio::time::sleep(reconnect))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Ends only with the error that broke the connection.
async fn listen_once(pool: &PgPool, is_ours: &impl Fn(&str) -> bool, wake: &Wake) -> sqlx::Error {
    let mut listener = match PgListener::connect_with(pool).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    if let Err(error) = listener.listen(CHANNEL).await {
        return error;
    }
    tracing::debug!(channel = CHANNEL, "listening for queue notifications");
    wake.wake(); // Something may have arrived while nobody listened.
    loop {
        match listener.recv().await {
            Ok(notification) if is_ours(notification.payload()) => wake.wake(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wake_before_wait_is_not_lost() {
        let wake = Wake::default();
        wake.wake();
        wake.wake();
        let long = Duration::from_secs(60);
        tokio::time::timeout(Duration::from_secs(1), wake.wait(long))
            .await
            .expect("a stored wake-up ends the wait at once");
    }

    #[tokio::test]
    async fn wait_ends_after_the_poll_interval() {
        Wake::default().wait(Duration::from_millis(5)).await;
    }
}
