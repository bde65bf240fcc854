//! The HTTP interface of a worker: it tells, it takes no orders.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{json, Value};
use tasker_shared::readiness::Readiness;
use tasker_shared::telemetry::PrometheusHandle;
use tasker_shared::templates::TaskTemplate;
use tasker_shared::web::{health, ApiError};

use crate::app::App;

pub fn router(app: App, prometheus: PrometheusHandle) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(health))
        .route("/health/ready", get(ready))
        .route("/metrics", get(move || async move { prometheus.render() }))
        .route("/status", get(status))
        .route("/status/namespaces", get(namespaces))
        .route("/handlers", get(handlers))
        .route("/templates", get(templates))
        .route("/templates/{namespace}", get(template))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "no such path") })
        .with_state(app)
}

async fn ready(State(app): State<App>) -> Readiness {
    app.readiness().await
}

async fn status(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "worker": &*app.status.identity,
        "version": env!("CARGO_PKG_VERSION"),
        "environment": &*app.environment,
        "draining": app.drain.is_cancelled(),
        "namespaces": &*app.namespaces,
        "counts": app.status.snapshot(),
    }))
}

/// The queue of each namespace and how full it is.
async fn namespaces(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let settings = app.settings.get();
    let mut list = Vec::new();
    for namespace in app.namespaces.iter() {
        let queue = settings.config.queues.worker(namespace);
        let metrics = pgmq_notify::metrics(&app.db, &queue)
            .await
            .map_err(ApiError::internal)?;
        list.push(json!({
            "namespace": namespace,
            "queue": queue,
            "messages": metrics.length,
            "visible": metrics.visible,
            "oldest_seconds": metrics.oldest_age_seconds,
            "total": metrics.total,
        }));
    }
    Ok(Json(json!({"namespaces": list})))
}

async fn handlers(State(app): State<App>) -> Json<Value> {
    Json(json!({"handlers": app.handlers.names().collect::<Vec<_>>()}))
}

/// The templates of the namespaces this worker works for.
async fn templates(State(app): State<App>) -> Json<Value> {
    let settings = app.settings.get();
    let templates: Vec<&TaskTemplate> = app
        .namespaces
        .iter()
        .filter_map(|namespace| settings.templates.get(namespace))
        .collect();
    Json(json!({"templates": templates}))
}

async fn template(
    State(app): State<App>,
    Path(namespace): Path<String>,
) -> Result<Json<TaskTemplate>, ApiError> {
    match app.settings.get().templates.get(&namespace) {
        Some(template) => Ok(Json(template.clone())),
        None => Err(ApiError::new(StatusCode::NOT_FOUND, "no such template")),
    }
}

#[cfg(all(test, feature = "test-utils"))]
mod tests {
    use super::*;
    use crate::status::Status;
    use crate::HandlerRegistry;
    use axum::body::Body;
    use axum::http::Request;
    use std::sync::Arc;
    use tasker_shared::config::SettingsReceiver;
    use tasker_shared::messages::WorkerIdentity;
    use tasker_shared::{database, telemetry, test_utils};
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt;

    async fn status_of(path: &str) -> StatusCode {
        let settings = test_utils::settings();
        let db = database::pool(&test_utils::source(), &settings.config.database, "test")
            .expect("a lazy pool");
        let app = App {
            db,
            settings: SettingsReceiver::fixed(settings),
            environment: "test".into(),
            namespaces: Arc::from(["payments".to_owned()]),
            handlers: HandlerRegistry::new(),
            status: Status::new(WorkerIdentity {
                worker_id: "w".to_owned(),
                language: "rust".to_owned(),
                instance: "here".to_owned(),
            }),
            drain: CancellationToken::new(),
        };
        let request = Request::get(path).body(Body::empty()).expect("a request");
        router(app, telemetry::test_metrics())
            .oneshot(request)
            .await
            .expect("the router cannot fail")
            .status()
    }

    #[tokio::test]
    async fn alone_it_is_alive_but_not_ready() {
        for path in [
            "/health",
            "/health/live",
            "/status",
            "/handlers",
            "/templates",
            "/metrics",
        ] {
            assert_eq!(status_of(path).await, StatusCode::OK, "{path}");
        }
        assert_eq!(
            status_of("/health/ready").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status_of("/templates/payments").await, StatusCode::OK);
        assert_eq!(status_of("/info").await, StatusCode::NOT_FOUND);
    }
}
