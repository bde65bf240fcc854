//! Check a card, authorize, capture, receipt. Only the last four digits ever leave the first step.

use serde_json::{json, Value};
use tasker_worker::{HandlerRegistry, StepError, StepInput};

/// A well-known test number that no bank gives out.
const TEST_CARD: &str = "4111111111111111";
const LIMIT_CENTS: i64 = 1_000_000;

pub fn register(registry: HandlerRegistry) -> HandlerRegistry {
    registry
        .with_fn("payments.check_card", check_card)
        .with_fn("payments.authorize", authorize)
        .with_fn("payments.capture", capture)
        .with_fn("payments.receipt", receipt)
}

fn check_card(input: &StepInput) -> Result<Value, StepError> {
    let card = input.context_text("card", TEST_CARD)?;
    if !luhn(card) {
        return Err(StepError::permanent("the card number is not valid"));
    }
    let last_four: String = card.chars().skip(card.chars().count() - 4).collect();
    Ok(json!({"last_four": last_four}))
}

/// Every second digit from the right is doubled, its digits are added up; the sum must end in zero.
fn luhn(card: &str) -> bool {
    let Some(digits) = card
        .chars()
        .rev()
        .map(|digit| digit.to_digit(10))
        .collect::<Option<Vec<u32>>>()
    else {
        return false;
    };
    let sum: u32 = digits
        .iter()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    (12..=19).contains(&digits.len()) && sum % 10 == 0
}

fn authorize(input: &StepInput) -> Result<Value, StepError> {
    let amount = input.context_integer("amount_cents", 4_200)?;
    if !(1..=LIMIT_CENTS).contains(&amount) {
        return Err(StepError::permanent(format!(
            "the amount must be between 1 and {LIMIT_CENTS} cents"
        )));
    }
    Ok(
        json!({"amount_cents": amount, "authorization": input.step.step_id, "card": input.result_of("check_card")?["last_four"]}),
    )
}

fn capture(input: &StepInput) -> Result<Value, StepError> {
    let authorized = input.result_of("authorize")?;
    let amount = input.integer_of("authorize", "amount_cents")?;
    // 1.5 % and 25 cents, rounded up.
    let fee = (amount * 15).div_euclid(1000) + i64::from(amount * 15 % 1000 != 0) + 25;
    Ok(
        json!({"captured_cents": amount, "fee_cents": fee, "authorization": authorized["authorization"], "card": authorized["card"]}),
    )
}

fn receipt(input: &StepInput) -> Result<Value, StepError> {
    let captured = input.integer_of("capture", "captured_cents")?;
    let fee = input.integer_of("capture", "fee_cents")?;
    let card = &input.result_of("capture")?["card"];
    Ok(json!({"paid_cents": captured, "net_cents": captured - fee, "card": card}))
}

#[cfg(test)]
mod tests {
    use super::luhn;

    #[test]
    fn card_numbers_have_a_check_digit() {
        assert!(luhn(super::TEST_CARD));
        assert!(!luhn("4111111111111112"));
        assert!(!luhn("0"));
        assert!(!luhn("4111 1111"));
    }
}
