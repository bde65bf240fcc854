//! What a worker knows about itself: who it is, what it has done, whether it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tasker_shared::messages::WorkerIdentity;
use tasker_shared::readiness::Heartbeat;

#[derive(Debug, Clone)]
pub struct Status {
    pub identity: Arc<WorkerIdentity>,
    pub heartbeat: Heartbeat,
    start: Instant,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

/// The counts of one moment.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
pub struct Snapshot {
    pub uptime_seconds: u64,
    pub steps_in_flight: u64,
    pub steps_completed: u64,
    pub steps_failed: u64,
    pub attempts_retried: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Completed,
    Failed,
    Retried,
    /// The message spoke of a step that needs nothing any more.
    Duplicate,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Duplicate => "duplicate",
        }
    }
}

impl Status {
    pub fn new(identity: WorkerIdentity) -> Self {
        Self {
            identity: Arc::new(identity),
            heartbeat: Heartbeat::default(),
            start: Instant::now(),
            counts: Arc::default(),
        }
    }

    /// Counts an attempt as being in flight until the returned value is dropped.
    pub fn begin(&self) -> InFlight {
        self.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.counts.clone())
    }

    pub fn count(&self, namespace: &str, ending: Ending) {
        let count = match ending {
            Ending::Completed => Some(&self.counts.completed),
            Ending::Failed => Some(&self.counts.failed),
            Ending::Retried => Some(&self.counts.retried),
            Ending::Duplicate => None,
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        metrics::counter!(
            "tasker_worker_attempts_total",
            "namespace" => namespace.to_owned(), "ending" => ending.as_str()
        )
        .increment(1);
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            uptime_seconds: self.start.elapsed().as_secs(),
            steps_in_flight: self.counts.in_flight.load(Ordering::Relaxed),
            steps_completed: self.counts.completed.load(Ordering::Relaxed),
            steps_failed: self.counts.failed.load(Ordering::Relaxed),
            attempts_retried: self.counts.retried.load(Ordering::Relaxed),
        }
    }
}

pub struct InFlight(Arc<Counts>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_in_flight_until_dropped() {
        let status = Status::new(WorkerIdentity {
            worker_id: "w".to_owned(),
            language: "rust".to_owned(),
            instance: "here".to_owned(),
        });
        let attempt = status.begin();
        assert_eq!(status.snapshot().steps_in_flight, 1);
        drop(attempt);
        status.count("payments", Ending::Completed);
        status.count("payments", Ending::Duplicate);
        let snapshot = status.snapshot();
        assert_eq!((snapshot.steps_in_flight, snapshot.steps_completed), (0, 1));
    }
}
