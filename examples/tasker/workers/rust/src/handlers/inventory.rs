//! The stock of one article: check, reserve, reorder.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

const REORDER_BELOW: i64 = 10;
const FULL_STOCK: i64 = 100;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("inventory.check_stock", check_stock)
        .with_fn("inventory.reserve", reserve)
        .with_fn("inventory.reorder", reorder)
}

fn check_stock(input: &StepInput) -> Result<Value, StepError> {
    let on_hand = input.context_integer("on_hand", 12)?;
    let requested = input.context_integer("requested", 5)?;
    if requested < 1 {
        return Err(StepError::permanent("context.requested must be at least 1"));
    }
    if requested > on_hand {
        return Err(StepError::permanent(format!(
            "{requested} requested, {on_hand} on hand"
        )));
    }
    Ok(json!({"on_hand": on_hand, "requested": requested}))
}

fn reserve(input: &StepInput) -> Result<Value, StepError> {
    let on_hand = input.integer_of("check_stock", "on_hand")?;
    let requested = input.integer_of("check_stock", "requested")?;
    Ok(json!({"reserved": requested, "left": on_hand - requested}))
}

fn reorder(input: &StepInput) -> Result<Value, StepError> {
    let left = input.integer_of("reserve", "left")?;
    let quantity = if left < REORDER_BELOW {
        FULL_STOCK - left
    } else {
        0
    };
    let sku = input.context_text("sku", "BOOK-1")?;
    Ok(json!({"sku": sku, "left": left, "reorder": quantity}))
}
