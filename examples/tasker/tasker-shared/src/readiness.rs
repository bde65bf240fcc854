//! Can this program do its work now? A list of questions, each really asked.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
    pub millis: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// `ready` or `not_ready`
    pub status: String,
    pub checks: Vec<Check>,
}

impl Readiness {
    pub fn new(checks: Vec<Check>) -> Self {
        let ready = checks.iter().all(|check| check.ok);
        let status = if ready { "ready" } else { "not_ready" };
        Self {
            status: status.to_owned(),
            checks,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

impl Check {
    /// Asks `question` and gives it `limit` to answer: a probe has its own, short patience.
    pub async fn ask(
        name: &str,
        limit: Duration,
        question: impl Future<Output = Result<String, String>>,
    ) -> Self {
        let start = Instant::now();
        let answer = tokio::time::timeout(limit, question)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())));
        Self {
            millis: start.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            ..Self::known(name, answer)
        }
    }

    /// A question whose answer is known already.
    pub fn known(name: &str, answer: Result<String, String>) -> Self {
        Self {
            name: name.to_owned(),
            ok: answer.is_ok(),
            detail: answer.unwrap_or_else(|reason| reason),
            millis: 0,
        }
    }
}

/// A loop that has not come round for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The sign of life of a loop.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
        }
    }
}

impl Heartbeat {
    pub fn beat(&self) {
        self.last
            .store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// The answer to a readiness question.
    pub fn check(&self) -> Result<String, String> {
        let silence = self
            .start
            .elapsed()
            .saturating_sub(Duration::from_secs(self.last.load(Ordering::Relaxed)));
        if silence < STUCK_AFTER {
            Ok("running".to_owned())
        } else {
            Err(format!("no sign of life for {} s", silence.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_failure_or_silence_is_not_ready() {
        let limit = Duration::from_millis(10);
        let good = Check::ask("good", limit, async { Ok("fine".to_owned()) }).await;
        assert!(Readiness::new(vec![good.clone()]).is_ready());
        let silent = Check::ask("silent", limit, std::future::pending()).await;
        assert_eq!(silent.detail, "no answer within 10 ms");
        let report = Readiness::new(vec![good, silent]);
        assert_eq!(report.status, "not_ready");
    }

    #[test]
    fn a_young_heartbeat_is_fine() {
        let heartbeat = Heartbeat::default();
        heartbeat.beat();
        assert_eq!(heartbeat.check(), Ok("running".to_owned()));
    }
}
