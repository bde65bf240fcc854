//! Runs a task of every namespace against a running stack. Without TASKER_TEST_URL there is no stack, and nothing to test.

use std::time::Duration;

use anyhow::{ensure, Context};
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
    let Ok(url) = std::env::var("TASKER_TEST_URL") else {
        eprintln!("skipped: TASKER_TEST_URL is not set");
        return Ok(());
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
