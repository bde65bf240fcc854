//! The step handlers of the WASM worker. They get JSON and give JSON; whatever else they try ends in a trap.

mod abi;
mod handlers;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a handler gets.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub handler: String,
    /// Counts from 1.
    pub attempt: i64,
    pub context: Value,
    pub dependency_results: BTreeMap<String, Value>,
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub retryable: bool,
}

impl Refusal {
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
        }
    }
}

/// What the host reads.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Done { result: Value },
    Refused { error: String, retryable: bool },
}

impl Step {
    /// A whole number: of a step that this one depends on, else of the context, else `default`.
    pub fn integer(&self, dependency: &str, field: &str, default: i64) -> Result<i64, Refusal> {
        let given = self
            .dependency_results
            .get(dependency)
            .map(|result| &result[field])
            .unwrap_or(&self.context[field]);
        match given {
            Value::Null => Ok(default),
            value => value
                .as_i64()
                .ok_or_else(|| Refusal::permanent(format!("{field} must be a whole number"))),
        }
    }

    pub fn result_of(&self, dependency: &str) -> Result<&Value, Refusal> {
        self.dependency_results
            .get(dependency)
            .ok_or_else(|| Refusal::permanent(format!("there is no result of step '{dependency}'")))
    }
}

/// Does one step.
pub fn handle(input: &[u8]) -> Vec<u8> {
    let outcome = serde_json::from_slice(input)
        .map_err(|error| Refusal::permanent(format!("no step: {error}")))
        .and_then(|step: Step| handlers::find(&step.handler)?(&step));
    let answer = match outcome {
        Ok(result) => Answer::Done { result },
        Err(Refusal { message, retryable }) => Answer::Refused {
            error: message,
            retryable,
        },
    };
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// The names of the handlers, as JSON.
pub fn names() -> Vec<u8> {
    let names: Vec<&str> = handlers::ALL.iter().map(|(name, _)| *name).collect();
    serde_json::to_vec(&names).unwrap_or_default()
}
