//! The task templates and the handlers must fit together: every step can be done, and every workflow runs to its end.

use std::collections::BTreeMap;

use tasker_shared::messages::StepMessage;
use tasker_shared::templates::{TaskTemplate, Templates};
use tasker_worker::StepInput;
use tasker_worker_rust::{handlers, NAMESPACES};
use uuid::Uuid;

fn templates() -> Templates {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/tasks");
    Templates::load(folder.as_ref()).expect("valid templates")
}

/// The templates of this worker's namespaces.
fn own(templates: &Templates) -> impl Iterator<Item = &TaskTemplate> {
    templates
        .iter()
        .filter(|template| NAMESPACES.contains(&template.namespace.as_str()))
}

#[test]
fn every_namespace_has_a_template_and_every_step_a_handler() {
    let templates = templates();
    let registry = handlers();
    for namespace in NAMESPACES {
        let template = templates.get(namespace).expect(namespace);
        for step in &template.steps {
            assert!(registry.get(&step.handler).is_some(), "{}", step.handler);
        }
    }
    let steps: usize = own(&templates)
        .flat_map(|template| &template.steps)
        .map(|step| step.handler.as_str())
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    assert_eq!(
        steps,
        registry.names().count(),
        "a handler that no step uses"
    );
}

/// Does the steps of `template` in an order that their dependencies allow, without queues or a database.
async fn run(
    template: &TaskTemplate,
    context: serde_json::Value,
) -> BTreeMap<String, serde_json::Value> {
    let registry = handlers();
    let mut results: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    while results.len() < template.steps.len() {
        for step in &template.steps {
            let needed = step.depends_on.iter();
            let inputs = needed.map(|name| Some((name.clone(), results.get(name)?.clone())));
            let Some(dependency_results) = inputs.collect::<Option<BTreeMap<_, _>>>() else {
                continue;
            };
            let input = StepInput {
                attempt: 1,
                step: StepMessage {
                    task_id: Uuid::nil(),
                    step_id: Uuid::nil(),
                    namespace: template.namespace.clone(),
                    step_name: step.name.clone(),
                    handler: step.handler.clone(),
                    max_attempts: 1,
                    context: context.clone(),
                    dependency_results,
                },
            };
            let handler = registry.get(&step.handler).expect("checked above");
            let result = handler.handle(&input).await.expect(&step.handler);
            results.insert(step.name.clone(), result);
        }
    }
    results
}

#[tokio::test]
async fn every_workflow_completes_with_an_empty_context() {
    for template in own(&templates()) {
        run(template, serde_json::json!({})).await;
    }
}

#[tokio::test]
async fn the_arithmetic_is_right() {
    let templates = templates();
    let linear = templates.get("linear_workflow").expect("a template");
    let results = run(linear, serde_json::json!({"value": 3})).await;
    assert_eq!(results["report"]["result"], 256);
    let tree = templates.get("tree_workflow").expect("a template");
    let results = run(tree, serde_json::json!({"numbers": [1, 2, 3]})).await;
    assert_eq!(results["gather"]["total"], 6);
}
