//! The types of the HTTP API.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use uuid::Uuid;

use crate::messages::WorkerIdentity;

pub(crate) fn empty_object() -> Value {
    json!({})
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct CreateTaskRequest {
    pub namespace: String,
    /// What the handlers work on: any JSON object.
    #[serde(default = "empty_object")]
    #[cfg_attr(feature = "web-api", schema(value_type = Object))]
    pub context: Value,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct CreatedTask {
    pub task_id: Uuid,
    pub status: TaskStatus,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct TaskSummary {
    pub task_id: Uuid,
    pub namespace: String,
    pub status: TaskStatus,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct TaskList {
    pub tasks: Vec<TaskSummary>,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct TaskView {
    pub task_id: Uuid,
    pub namespace: String,
    pub status: TaskStatus,
    #[cfg_attr(feature = "web-api", schema(value_type = Object))]
    pub context: Value,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub steps: Vec<StepView>,
}

impl TaskView {
    pub fn step(&self, name: &str) -> Option<&StepView> {
        self.steps.iter().find(|step| step.name == name)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct StepView {
    pub step_id: Uuid,
    pub name: String,
    pub handler: String,
    pub status: StepStatus,
    pub depends_on: Vec<String>,
    pub attempts: i32,
    pub max_attempts: i32,
    #[cfg_attr(feature = "web-api", schema(value_type = Option<Object>))]
    pub result: Option<Value>,
    pub error: Option<String>,
    /// Who did the step, or is doing it.
    pub worker: Option<WorkerIdentity>,
    pub enqueued_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
}

/// A word in the database that is none of the states this program knows.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no such status")]
pub struct UnknownStatus(String);

/// The words are the same in JSON, in the database and on the command line.
macro_rules! status {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
        pub enum $name { $($variant),+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownStatus;

            fn from_str(word: &str) -> Result<Self, UnknownStatus> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownStatus(word.to_owned())),
                }
            }
        }
    };
}

status!(TaskStatus {
    Pending = "pending",
    InProgress = "in_progress",
    Complete = "complete",
    Error = "error",
});

status!(StepStatus {
    Pending = "pending",
    Enqueued = "enqueued",
    InProgress = "in_progress",
    Complete = "complete",
    Error = "error",
    Cancelled = "cancelled",
});

impl TaskStatus {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_everywhere() {
        for status in [
            StepStatus::Pending,
            StepStatus::Enqueued,
            StepStatus::InProgress,
            StepStatus::Complete,
            StepStatus::Error,
            StepStatus::Cancelled,
        ] {
            assert_eq!(status.as_str().parse::<StepStatus>().ok(), Some(status));
            assert_eq!(
                serde_json::to_value(status).ok(),
                Some(json!(status.as_str()))
            );
        }
        assert!("done".parse::<TaskStatus>().is_err());
    }
}
