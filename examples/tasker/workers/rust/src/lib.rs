//! The handlers of the Rust worker, one module a namespace.

mod handlers;

use tasker_worker::{HandlerRegistry, Profile};

/// What stands beside every result of this worker.
pub const LANGUAGE: &str = "rust";

pub const NAMESPACES: [&str; 8] = [
    "linear_workflow",
    "diamond_workflow",
    "tree_workflow",
    "mixed_dag_workflow",
    "order_fulfillment",
    "inventory",
    "notifications",
    "payments",
];

pub fn profile() -> Profile {
    Profile {
        program: "rust-worker",
        language: LANGUAGE.to_owned(),
        namespaces: NAMESPACES.map(str::to_owned).to_vec(),
        handlers: handlers(),
        at_once: None,
    }
}

pub fn handlers() -> HandlerRegistry {
    let registry = HandlerRegistry::new();
    let registry = handlers::linear_workflow::register(registry);
    let registry = handlers::diamond_workflow::register(registry);
    let registry = handlers::tree_workflow::register(registry);
    let registry = handlers::mixed_dag_workflow::register(registry);
    let registry = handlers::order_fulfillment::register(registry);
    let registry = handlers::inventory::register(registry);
    let registry = handlers::notifications::register(registry);
    handlers::payments::register(registry)
}
