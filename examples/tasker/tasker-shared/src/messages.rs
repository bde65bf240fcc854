//! What the programs say to each other through the queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::model::TaskStatus;

/// Orchestration to worker: one step to do, with everything needed to do it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct StepMessage {
    pub task_id: Uuid,
    pub step_id: Uuid,
    /// Whose workers do it: the task's, or another that its template names.
    pub namespace: String,
    pub step_name: String,
    pub handler: String,
    pub max_attempts: i32,
    pub context: Value,
    /// The results of the steps this one depends on, by name.
    pub dependency_results: BTreeMap<String, Value>,
}

/// Worker to orchestration: what became of a step.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct StepResultMessage {
    pub task_id: Uuid,
    pub step_id: Uuid,
    pub attempts: i32,
    pub worker: WorkerIdentity,
    pub outcome: StepOutcome,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    Complete { result: Value },
    Error { message: String },
}

/// Which process did something.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct WorkerIdentity {
    pub worker_id: String,
    pub language: String,
    /// The host, which in a container is the container: replicas share their worker id.
    pub instance: String,
}

/// Anyone to orchestration: please create a task. The same as `POST /v1/tasks`, without waiting.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct TaskRequestMessage {
    pub namespace: String,
    #[serde(default = "crate::model::empty_object")]
    pub context: Value,
}

/// Orchestration to itself: nothing is left to do for this task.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct FinalizeMessage {
    pub task_id: Uuid,
    /// The status the task had when this was sent; for people who read the queue.
    pub status: TaskStatus,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outcomes_have_a_stable_form() {
        let complete = StepOutcome::Complete { result: json!(7) };
        assert_eq!(
            serde_json::to_value(complete).expect("serializable"),
            json!({"complete": {"result": 7}})
        );
        let request: TaskRequestMessage =
            serde_json::from_value(json!({"namespace": "payments"})).expect("context is optional");
        assert_eq!(request.context, json!({}));
    }
}
