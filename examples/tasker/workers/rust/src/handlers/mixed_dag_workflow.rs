//! Statistics of the words in `context.text`.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

const TEXT: &str = "a task is a graph of steps and a worker does one step at a time";

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("mixed_dag_workflow.words", words)
        .with_fn("mixed_dag_workflow.count", count)
        .with_fn("mixed_dag_workflow.lengths", lengths)
        .with_fn("mixed_dag_workflow.longest", longest)
        .with_fn("mixed_dag_workflow.average", average)
        .with_fn("mixed_dag_workflow.summary", summary)
}

fn words(input: &StepInput) -> Result<Value, StepError> {
    let words: Vec<&str> = input
        .context_text("text", TEXT)?
        .split_whitespace()
        .collect();
    if words.is_empty() {
        return Err(StepError::permanent("context.text has no words"));
    }
    Ok(json!({"words": words}))
}

fn count(input: &StepInput) -> Result<Value, StepError> {
    Ok(json!({"count": list(input, "words", "words")?.len()}))
}

fn lengths(input: &StepInput) -> Result<Value, StepError> {
    let lengths: Vec<usize> = list(input, "words", "words")?
        .iter()
        .map(|word| word.as_str().map_or(0, |word| word.chars().count()))
        .collect();
    Ok(json!({"lengths": lengths}))
}

fn longest(input: &StepInput) -> Result<Value, StepError> {
    let lengths = list(input, "lengths", "lengths")?;
    // The first of the longest; max_by_key would give the last.
    let longest = lengths.iter().filter_map(Value::as_u64).max().unwrap_or(0);
    let index = lengths
        .iter()
        .position(|length| length.as_u64() == Some(longest));
    Ok(json!({"length": longest, "index": index}))
}

fn average(input: &StepInput) -> Result<Value, StepError> {
    let total: u64 = list(input, "lengths", "lengths")?
        .iter()
        .filter_map(Value::as_u64)
        .sum();
    let count = input.integer_of("count", "count")?.unsigned_abs().max(1);
    // In hundredths, to stay with whole numbers.
    Ok(json!({"average_hundredths": total * 100 / count}))
}

fn summary(input: &StepInput) -> Result<Value, StepError> {
    let words = list(input, "words", "words")?;
    let index = usize::try_from(input.integer_of("longest", "index")?).unwrap_or(usize::MAX);
    Ok(json!({
        "longest_word": words.get(index),
        "longest_length": input.integer_of("longest", "length")?,
        "average_hundredths": input.integer_of("average", "average_hundredths")?,
    }))
}

fn list<'a>(input: &'a StepInput, step: &str, field: &str) -> Result<&'a Vec<Value>, StepError> {
    input.result_of(step)?[field].as_array().ok_or_else(|| {
        StepError::permanent(format!("the result of '{step}' has no list '{field}'"))
    })
}
