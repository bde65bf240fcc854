//! Runs a task of every namespace against a stack: one of its own, or the running one that TASKER_TEST_URL names.

mod environment;

use std::time::Duration;

use anyhow::{ensure, Context};
use environment::Environment;
use serde_json::json;
use tasker_core::client::TaskerClient;
use tasker_core::shared::model::{CreateTaskRequest, TaskStatus};

const NAMESPACES: [&str; 8] = [
    "linear_workflow",
    "diamond_workflow",
    "tree_workflow",
    "mixed_dag_workflow",
    "order_fulfillment",
    "inventory",
    "notifications",
    "payments",
];

#[tokio::test]
async fn docker_integration_every_namespace_completes() -> anyhow::Result<()> {
    let (url, _environment) = match std::env::var("TASKER_TEST_URL") {
        Ok(url) => (url, None),
        Err(_) => {
            let environment = Environment::start()?;
            (environment.url()?, Some(environment))
        }
    };
    let client = TaskerClient::new(&url, Duration::from_secs(10))?;
    for namespace in NAMESPACES {
        let request = CreateTaskRequest {
            namespace: namespace.to_owned(),
            context: json!({}),
        };
        let created = client.create_task(&request).await.context(namespace)?;
        let task = client
            .wait_for_task(created.task_id, Duration::from_secs(60))
            .await?;
        ensure!(
            task.status == TaskStatus::Complete,
            "{namespace}: {} {}",
            task.status,
            task.error.unwrap_or_default()
        );
        ensure!(
            task.steps.iter().all(|step| step.worker.is_some()),
            "{namespace}: a step without a worker"
        );
    }
    Ok(())
}
