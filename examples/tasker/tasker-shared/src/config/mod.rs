//! The configuration: what it holds. How it is found and read stands in `load`, how it is kept up to date in `watch`.

mod load;
mod substitute;
mod watch;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

pub use load::{ConfigError, ConfigSource, Environment};
pub use watch::{watch, Settings, SettingsReceiver};

/// Everything under `config/tasker`, one field a component. Unknown keys are errors, so that a typo cannot pass for a default.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub backoff: Backoff,
    pub database: Database,
    pub event_systems: EventSystems,
    pub orchestration: Orchestration,
    pub queues: Queues,
    pub system: System,
    pub task_templates: TaskTemplates,
    pub telemetry: Telemetry,
    pub worker: Worker,
}

impl Config {
    /// The components, each a file of the same name.
    pub const COMPONENTS: [&'static str; 9] = [
        "backoff",
        "database",
        "event_systems",
        "orchestration",
        "queues",
        "system",
        "task_templates",
        "telemetry",
        "worker",
    ];
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    pub initial_seconds: u32,
    pub multiplier: u32,
    pub max_seconds: u32,
}

impl Backoff {
    /// How long to wait after attempt number `attempt`, which counts from 1.
    pub fn delay_seconds(&self, attempt: u32) -> u32 {
        self.multiplier
            .saturating_pow(attempt.saturating_sub(1))
            .saturating_mul(self.initial_seconds)
            .min(self.max_seconds)
    }
}

#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: String,
    pub max_connections: u32,
    pub min_connections: u32,
    pub acquire_timeout_ms: u64,
}

// By hand, because the URL holds the password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EventSystems {
    pub listen: bool,
    pub reconnect_delay_ms: u64,
}

impl EventSystems {
    pub fn reconnect_delay(&self) -> Duration {
        Duration::from_millis(self.reconnect_delay_ms)
    }
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Orchestration {
    pub poll_interval_ms: u64,
    pub batch_size: u16,
    pub visibility_timeout_seconds: u16,
    pub max_reads: u16,
    pub web: Web,
}

impl Orchestration {
    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Web {
    pub bind_address: SocketAddr,
    pub request_timeout_ms: u64,
}

impl Web {
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Queues {
    pub worker_pattern: String,
    pub step_results: String,
    pub task_requests: String,
    pub task_finalizations: String,
}

impl Queues {
    /// The queue that the workers of `namespace` read.
    pub fn worker(&self, namespace: &str) -> String {
        self.worker_pattern.replace("{namespace}", namespace)
    }

    /// The queues that the orchestration reads.
    pub fn orchestration(&self) -> [String; 3] {
        [
            self.step_results.clone(),
            self.task_requests.clone(),
            self.task_finalizations.clone(),
        ]
    }
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct System {
    pub shutdown_grace_seconds: u64,
    pub reload_interval_ms: u64,
    pub readiness_timeout_ms: u64,
}

impl System {
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }

    pub fn reload_interval(&self) -> Duration {
        Duration::from_millis(self.reload_interval_ms)
    }

    pub fn readiness_timeout(&self) -> Duration {
        Duration::from_millis(self.readiness_timeout_ms)
    }
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TaskTemplates {
    pub directory: String,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub log_level: String,
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub worker_id: String,
    pub orchestration_url: String,
    pub namespaces: Vec<String>,
    pub poll_interval_ms: u64,
    pub batch_size: u16,
    pub max_concurrent_steps: u16,
    pub visibility_timeout_seconds: u16,
    pub web: Web,
}

impl Worker {
    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    pub fn attempt_time_limit(&self) -> Duration {
        Duration::from_secs(self.visibility_timeout_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_maximum() {
        let backoff = Backoff {
            initial_seconds: 2,
            multiplier: 3,
            max_seconds: 30,
        };
        let delays: Vec<u32> = (1..=5)
            .map(|attempt| backoff.delay_seconds(attempt))
            .collect();
        assert_eq!(delays, [2, 6, 18, 30, 30]);
        assert_eq!(backoff.delay_seconds(u32::MAX), 30);
    }
}
