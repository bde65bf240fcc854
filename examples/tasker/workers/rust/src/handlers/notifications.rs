//! One message on two ways.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

const SMS_LENGTH: usize = 160;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("notifications.compose", compose)
        .with_fn("notifications.send_email", send_email)
        .with_fn("notifications.send_sms", send_sms)
        .with_fn("notifications.record_delivery", record_delivery)
}

fn compose(input: &StepInput) -> Result<Value, StepError> {
    let name = input.context_text("name", "Ada")?;
    let template = input.context_text("template", "Hello {name}, your order is on its way.")?;
    Ok(json!({"text": template.replace("{name}", name)}))
}

fn text(input: &StepInput) -> Result<&str, StepError> {
    input.result_of("compose")?["text"]
        .as_str()
        .ok_or_else(|| StepError::permanent("there is no text to send"))
}

fn send_email(input: &StepInput) -> Result<Value, StepError> {
    let to = input.context_text("email", "ada@example.org")?;
    if !to.contains('@') {
        return Err(StepError::permanent(format!("'{to}' is no mail address")));
    }
    Ok(json!({"channel": "email", "to": to, "bytes": text(input)?.len()}))
}

/// `context.sms_busy_attempts` makes the first attempts fail: for trying out retries.
fn send_sms(input: &StepInput) -> Result<Value, StepError> {
    if i64::from(input.attempt) <= input.context_integer("sms_busy_attempts", 0)? {
        return Err(StepError::retryable("the SMS gateway is busy"));
    }
    let to = input.context_text("phone", "+15550100")?;
    let parts = text(input)?.chars().count().div_ceil(SMS_LENGTH);
    Ok(json!({"channel": "sms", "to": to, "parts": parts, "attempt": input.attempt}))
}

fn record_delivery(input: &StepInput) -> Result<Value, StepError> {
    let email = input.result_of("send_email")?;
    let sms = input.result_of("send_sms")?;
    Ok(json!({"delivered": [email["channel"], sms["channel"]]}))
}
