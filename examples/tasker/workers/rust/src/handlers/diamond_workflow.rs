//! `value² + 3 × value`, the two terms side by side.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

use super::too_large;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("diamond_workflow.start", start)
        .with_fn("diamond_workflow.square", square)
        .with_fn("diamond_workflow.triple", triple)
        .with_fn("diamond_workflow.join", join)
}

fn start(input: &StepInput) -> Result<Value, StepError> {
    Ok(json!({"value": input.context_integer("value", 5)?}))
}

fn square(input: &StepInput) -> Result<Value, StepError> {
    let value = input.integer_of("start", "value")?;
    Ok(json!({"value": value.checked_mul(value).ok_or_else(too_large)?}))
}

fn triple(input: &StepInput) -> Result<Value, StepError> {
    let value = input.integer_of("start", "value")?;
    Ok(json!({"value": value.checked_mul(3).ok_or_else(too_large)?}))
}

fn join(input: &StepInput) -> Result<Value, StepError> {
    let square = input.integer_of("square", "value")?;
    let triple = input.integer_of("triple", "value")?;
    Ok(json!({"result": square.checked_add(triple).ok_or_else(too_large)?}))
}
