//! HTTP client of the Tasker API.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tasker_shared::model::{CreateTaskRequest, CreatedTask, TaskList, TaskView};
use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("the answer is not what was expected: {0}")]
    Answer(#[source] reqwest::Error),
}

/// Talks to one server, orchestration or worker.
#[derive(Debug, Clone)]
pub struct TaskerClient {
    http: reqwest::Client,
    base: String,
}

impl TaskerClient {
    pub fn new(base: &str, timeout: Duration) -> reqwest::Result<Self> {
        // The services are neighbours: a proxy in the environment is meant for other places.
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(timeout)
            .build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    pub async fn create_task(
        &self,
        request: &CreateTaskRequest,
    ) -> Result<CreatedTask, ClientError> {
        self.send(self.http.post(self.url("/v1/tasks")).json(request))
            .await
    }

    pub async fn task(&self, id: Uuid) -> Result<TaskView, ClientError> {
        self.get(&format!("/v1/tasks/{id}")).await
    }

    pub async fn tasks(&self, limit: u16) -> Result<TaskList, ClientError> {
        self.get(&format!("/v1/tasks?limit={limit}")).await
    }

    /// Asks until the task is finished or `patience` is over; returns its last state in both cases.
    pub async fn wait_for_task(
        &self,
        id: Uuid,
        patience: Duration,
    ) -> Result<TaskView, ClientError> {
        let end = tokio::time::Instant::now() + patience;
        loop {
            let task = self.task(id).await?;
            if task.status.is_final() || tokio::time::Instant::now() >= end {
                return Ok(task);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// `/health`: does the server run?
    pub async fn health(&self) -> Result<Value, ClientError> {
        self.get("/health").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.get(self.url(path))).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|error| ClientError::Unreachable {
                url: self.base.clone(),
                reason: root_cause(&error),
            })?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(ClientError::Answer);
        }
        let body = response.text().await.map_err(ClientError::Answer)?;
        Err(ClientError::Refused {
            status,
            message: error_message(&body),
        })
    }
}

/// reqwest's own words repeat the URL; the last cause is what a person wants to read.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn error_message(body: &str) -> String {
    serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("error")?.as_str()?.to_owned()))
        .unwrap_or_else(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::json;

    async fn client_of(router: Router) -> TaskerClient {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        TaskerClient::new(&format!("http://{address}/"), Duration::from_secs(5)).expect("a client")
    }

    #[tokio::test]
    async fn health_is_read() {
        let router =
            Router::new().route("/health", get(|| async { Json(json!({"status": "ok"})) }));
        let health = client_of(router).await.health().await.expect("healthy");
        assert_eq!(health["status"], "ok");
    }

    #[tokio::test]
    async fn refusals_carry_the_servers_words() {
        let refuse = || async {
            (
                axum::http::StatusCode::NOT_FOUND,
                Json(json!({"error": "no such task"})),
            )
        };
        let client = client_of(Router::new().route("/v1/tasks/{id}", get(refuse))).await;
        let error = client.task(Uuid::nil()).await.expect_err("refused");
        assert_eq!(error.to_string(), "404 Not Found: no such task");
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let client =
            TaskerClient::new("http://127.0.0.1:1", Duration::from_secs(1)).expect("a client");
        let error = client.health().await.expect_err("port 1 is closed");
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }
}
