//! `((value × 2) + 10)²`, one operation a step.

use std::time::Duration;

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, Handling, StepError, StepHandler, StepInput};

use super::too_large;

/// Longer pauses would only fight the time limit of an attempt.
const LONGEST_WORK: i64 = 30_000;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with("linear_workflow.double", Double)
        .with_fn("linear_workflow.add_ten", add_ten)
        .with_fn("linear_workflow.square", square)
        .with_fn("linear_workflow.report", report)
}

/// `context.work_ms` makes it take its time: for trying out what happens to work in flight.
struct Double;

impl StepHandler for Double {
    fn handle<'a>(&'a self, input: &'a StepInput) -> Handling<'a> {
        Box::pin(async move {
            let work = input.context_integer("work_ms", 0)?.clamp(0, LONGEST_WORK);
            tokio::time::sleep(Duration::from_millis(work.unsigned_abs())).await;
            let value = input.context_integer("value", 6)?;
            Ok(json!({"value": value.checked_mul(2).ok_or_else(too_large)?}))
        })
    }
}

fn add_ten(input: &StepInput) -> Result<Value, StepError> {
    let value = input.integer_of("double", "value")?;
    Ok(json!({"value": value.checked_add(10).ok_or_else(too_large)?}))
}

fn square(input: &StepInput) -> Result<Value, StepError> {
    let value = input.integer_of("add_ten", "value")?;
    Ok(json!({"value": value.checked_mul(value).ok_or_else(too_large)?}))
}

fn report(input: &StepInput) -> Result<Value, StepError> {
    let start = input.context_integer("value", 6)?;
    let result = input.integer_of("square", "value")?;
    Ok(json!({"start": start, "result": result, "formula": "((value * 2) + 10) ^ 2"}))
}
