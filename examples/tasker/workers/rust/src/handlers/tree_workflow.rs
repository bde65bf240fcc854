//! Splits `context.numbers` twice, sums the four parts and gathers the sums.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

use super::too_large;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("tree_workflow.root", root)
        .with_fn("tree_workflow.left", |input| {
            Ok(json!({"numbers": halves(input)?.0}))
        })
        .with_fn("tree_workflow.right", |input| {
            Ok(json!({"numbers": halves(input)?.1}))
        })
        .with_fn("tree_workflow.sum_low", |input| sum(&halves(input)?.0))
        .with_fn("tree_workflow.sum_high", |input| sum(&halves(input)?.1))
        .with_fn("tree_workflow.gather", gather)
}

fn root(input: &StepInput) -> Result<Value, StepError> {
    let numbers = match &input.step.context["numbers"] {
        Value::Null => (1..=8).collect(),
        given => integers(given)?,
    };
    Ok(json!({"numbers": numbers}))
}

/// The two halves of the only list this step depends on.
fn halves(input: &StepInput) -> Result<(Vec<i64>, Vec<i64>), StepError> {
    let above = input
        .step
        .dependency_results
        .values()
        .next()
        .ok_or_else(|| StepError::permanent("there is no step above this one"))?;
    let mut low = integers(&above["numbers"])?;
    let high = low.split_off(low.len() / 2);
    Ok((low, high))
}

fn sum(numbers: &[i64]) -> Result<Value, StepError> {
    let sum = numbers
        .iter()
        .try_fold(0_i64, |sum, number| sum.checked_add(*number))
        .ok_or_else(too_large)?;
    Ok(json!({"sum": sum}))
}

fn gather(input: &StepInput) -> Result<Value, StepError> {
    let sums = ["left_low", "left_high", "right_low", "right_high"]
        .iter()
        .map(|step| input.integer_of(step, "sum"))
        .collect::<Result<Vec<_>, _>>()?;
    let total = sum(&sums)?;
    Ok(json!({"sums": sums, "total": total["sum"]}))
}

fn integers(value: &Value) -> Result<Vec<i64>, StepError> {
    value
        .as_array()
        .and_then(|items| items.iter().map(Value::as_i64).collect())
        .ok_or_else(|| StepError::permanent("numbers must be a list of whole numbers"))
}
