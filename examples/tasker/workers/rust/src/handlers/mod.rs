//! One module a namespace; the step and handler names are those of `config/tasks/`.

pub mod diamond_workflow;
pub mod inventory;
pub mod linear_workflow;
pub mod mixed_dag_workflow;
pub mod notifications;
pub mod order_fulfillment;
pub mod payments;
pub mod tree_workflow;

use tasker_worker::StepError;

/// Arithmetic of whole numbers that does not fit.
fn too_large() -> StepError {
    StepError::permanent("a number became too large")
}
