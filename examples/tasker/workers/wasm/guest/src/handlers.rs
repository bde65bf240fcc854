//! The handlers, by the names that config/tasks/ uses.

use serde_json::{json, Value};

use crate::{Refusal, Step};

pub type Handler = fn(&Step) -> Result<Value, Refusal>;

pub const ALL: [(&str, Handler); 7] = [
    ("wasm_workflows.fibonacci", fibonacci),
    ("wasm_workflows.collatz", collatz),
    ("wasm_workflows.add", add),
    ("sandboxed_execution.evaluate", evaluate),
    ("sandboxed_execution.report", report),
    ("secure_computation.share", share),
    ("secure_computation.combine", combine),
];

pub fn find(name: &str) -> Result<Handler, Refusal> {
    ALL.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, handler)| *handler)
        .ok_or_else(|| Refusal::permanent(format!("there is no handler '{name}'")))
}

fn too_large() -> Refusal {
    Refusal::permanent("a number became too large")
}

fn fibonacci(step: &Step) -> Result<Value, Refusal> {
    let place = step.integer("", "value", 30)?;
    let (mut this, mut next) = (0_i64, 1_i64);
    for _ in 0..place {
        (this, next) = (next, this.checked_add(next).ok_or_else(too_large)?);
    }
    Ok(json!({"value": this}))
}

/// How many steps a number needs to come down to 1. In a task of several languages the number comes from the step `start`.
fn collatz(step: &Step) -> Result<Value, Refusal> {
    let mut number = step.integer("start", "value", 27)?;
    if number < 1 {
        return Err(Refusal::permanent("the number must be at least 1"));
    }
    let mut steps = 0;
    while number != 1 {
        number = if number % 2 == 0 {
            number / 2
        } else {
            let threefold = number.checked_mul(3).ok_or_else(too_large)?;
            threefold.checked_add(1).ok_or_else(too_large)?
        };
        steps += 1;
    }
    Ok(json!({"steps": steps}))
}

fn add(step: &Step) -> Result<Value, Refusal> {
    let first = step.integer("fibonacci", "value", 0)?;
    let second = step.integer("collatz", "steps", 0)?;
    Ok(json!({"sum": first.checked_add(second).ok_or_else(too_large)?}))
}

/// Evaluates `context.expression`, in reverse Polish notation. To try the sandbox out: `context.spin` never ends, `context.eat_mib`
/// takes memory, `context.busy_attempts` fails first.
fn evaluate(step: &Step) -> Result<Value, Refusal> {
    if step.attempt <= step.integer("", "busy_attempts", 0)? {
        return Err(Refusal {
            message: "busy".to_owned(),
            retryable: true,
        });
    }
    let mut turns = 0_u64;
    while step.context["spin"] == Value::Bool(true) {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
    let mebibytes = usize::try_from(step.integer("", "eat_mib", 0)?).map_err(|_| too_large())?;
    std::hint::black_box(vec![1_u8; mebibytes.saturating_mul(1 << 20)]);

    let expression = match &step.context["expression"] {
        Value::Null => "3 4 + 2 *",
        text => text
            .as_str()
            .ok_or_else(|| Refusal::permanent("context.expression must be a text"))?,
    };
    Ok(json!({"value": reverse_polish(expression)?, "attempts": step.attempt}))
}

fn reverse_polish(expression: &str) -> Result<i64, Refusal> {
    let mut stack: Vec<i64> = Vec::new();
    for word in expression.split_whitespace() {
        if let Ok(number) = word.parse() {
            stack.push(number);
            continue;
        }
        let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
            return Err(Refusal::permanent(format!("'{word}' lacks numbers")));
        };
        let value = match word {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "/" => left.checked_div(right),
            _ => return Err(Refusal::permanent(format!("'{word}' is no operation"))),
        };
        stack.push(value.ok_or_else(|| Refusal::permanent(format!("'{word}' has no result")))?);
    }
    match stack.as_slice() {
        [value] => Ok(*value),
        _ => Err(Refusal::permanent("the expression is no single number")),
    }
}

fn report(step: &Step) -> Result<Value, Refusal> {
    Ok(json!({"line": format!("the value is {}", step.result_of("evaluate")?["value"])}))
}

/// Shares are numbers below this prime.
const PRIME: i64 = 2_147_483_647;

/// Splits `context.secret` into three numbers whose sum it is, modulo a prime. A sandbox has no randomness of its own: the seed comes
/// with the task.
fn share(step: &Step) -> Result<Value, Refusal> {
    let secret = step.integer("", "secret", 42)?.rem_euclid(PRIME);
    let mut state = step.integer("", "seed", 7)?.rem_euclid(PRIME).max(1);
    let mut next = || {
        state = state * 48_271 % PRIME;
        state
    };
    let (first, second) = (next(), next());
    let third = (secret - first - second).rem_euclid(PRIME);
    Ok(json!({"shares": [first, second, third]}))
}

fn combine(step: &Step) -> Result<Value, Refusal> {
    let shares = step.result_of("share")?["shares"].as_array();
    let sum = shares
        .into_iter()
        .flatten()
        .filter_map(Value::as_i64)
        .fold(0, |sum, share| (sum + share).rem_euclid(PRIME));
    Ok(json!({"secret": sum}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(handler: &str, context: Value) -> Value {
        let step =
            json!({"handler": handler, "attempt": 1, "context": context, "dependency_results": {}});
        let answer = crate::handle(step.to_string().as_bytes());
        serde_json::from_slice(&answer).expect("JSON")
    }

    #[test]
    fn handlers_answer_in_json() {
        let value = run("wasm_workflows.fibonacci", json!({"value": 10}));
        assert_eq!(value, json!({"result": {"value": 55}}));
        let value = run("wasm_workflows.collatz", json!({"value": 0}));
        assert_eq!(value["retryable"], false);
        let value = run("sandboxed_execution.evaluate", json!({"busy_attempts": 1}));
        assert_eq!(value, json!({"error": "busy", "retryable": true}));
        assert_eq!(run("nothing", json!({}))["retryable"], false);
    }

    #[test]
    fn expressions() {
        assert_eq!(reverse_polish("3 4 + 2 *"), Ok(14));
        for wrong in ["", "1 2", "+", "1 0 /", "1 2 ?", "9223372036854775807 1 +"] {
            assert!(reverse_polish(wrong).is_err(), "{wrong}");
        }
    }
}
