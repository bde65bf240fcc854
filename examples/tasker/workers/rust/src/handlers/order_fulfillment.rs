//! From `context.items` to a parcel.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

use super::too_large;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("order_fulfillment.validate_order", validate_order)
        .with_fn("order_fulfillment.reserve_inventory", reserve_inventory)
        .with_fn("order_fulfillment.charge_payment", charge_payment)
        .with_fn("order_fulfillment.ship_order", ship_order)
}

fn validate_order(input: &StepInput) -> Result<Value, StepError> {
    let sample = json!([
        {"sku": "BOOK-1", "quantity": 2, "unit_price_cents": 1250},
        {"sku": "PEN-7", "quantity": 5, "unit_price_cents": 199},
    ]);
    let items = match &input.step.context["items"] {
        Value::Null => &sample,
        given => given,
    };
    let items = items
        .as_array()
        .filter(|items| !items.is_empty())
        .ok_or_else(|| {
            StepError::permanent("context.items must be a list with at least one item")
        })?;
    let mut total: i64 = 0;
    for item in items {
        let sku = item["sku"]
            .as_str()
            .ok_or_else(|| StepError::permanent("an item has no sku"))?;
        let positive = |field: &str| {
            item[field]
                .as_i64()
                .filter(|number| *number > 0)
                .ok_or_else(|| {
                    StepError::permanent(format!("{sku}: {field} must be a positive whole number"))
                })
        };
        total = positive("quantity")?
            .checked_mul(positive("unit_price_cents")?)
            .and_then(|price| total.checked_add(price))
            .ok_or_else(too_large)?;
    }
    Ok(json!({"items": items, "total_cents": total}))
}

fn reserve_inventory(input: &StepInput) -> Result<Value, StepError> {
    let items = input.result_of("validate_order")?["items"]
        .as_array()
        .ok_or_else(|| StepError::permanent("the order has no items"))?;
    let reserved: Vec<Value> = items
        .iter()
        .map(|item| json!({"sku": item["sku"], "quantity": item["quantity"]}))
        .collect();
    let units: i64 = items
        .iter()
        .filter_map(|item| item["quantity"].as_i64())
        .sum();
    Ok(json!({"reserved": reserved, "units": units}))
}

fn charge_payment(input: &StepInput) -> Result<Value, StepError> {
    let total = input.integer_of("validate_order", "total_cents")?;
    // The step id names the charge: a second attempt would charge under the same name.
    Ok(json!({"charged_cents": total, "charge_id": input.step.step_id}))
}

fn ship_order(input: &StepInput) -> Result<Value, StepError> {
    let units = input.integer_of("reserve_inventory", "units")?;
    let charged = input.integer_of("charge_payment", "charged_cents")?;
    let parcels = (units + 9) / 10;
    Ok(
        json!({"parcels": parcels, "units": units, "paid_cents": charged, "tracking": input.step.task_id}),
    )
}
