//! The HTTP interface.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{json, Value};
use tasker_shared::messages::WorkerIdentity;
use tasker_shared::model::{
    CreateTaskRequest, CreatedTask, StepStatus, StepView, TaskList, TaskStatus, TaskSummary,
    TaskView,
};
use tasker_shared::readiness::{Check, Readiness};
use tasker_shared::telemetry::PrometheusHandle;
use tasker_shared::templates::{StepTemplate, TaskTemplate};
use tasker_shared::web::{health, ApiError, ErrorBody};
use utoipa::{IntoParams, OpenApi};
use uuid::Uuid;

use crate::app::App;
use crate::tasks::{self, TaskError};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tasker orchestration",
        description = "Tasks made of steps that workers do"
    ),
    paths(create_task, get_task, list_tasks, handlers, ready),
    components(schemas(
        Check,
        CreateTaskRequest,
        CreatedTask,
        ErrorBody,
        Readiness,
        StepStatus,
        StepTemplate,
        StepView,
        TaskList,
        TaskStatus,
        TaskSummary,
        TaskTemplate,
        TaskView,
        WorkerIdentity
    ))
)]
struct ApiDoc;

pub fn router(app: App, prometheus: PrometheusHandle) -> Router {
    let metrics = {
        let app = app.clone();
        move || async move {
            measure_queues(&app).await;
            prometheus.render()
        }
    };
    Router::new()
        .route("/health", get(health))
        .route("/live", get(health))
        .route("/ready", get(ready))
        .route("/health/detailed", get(detailed))
        .route("/metrics", get(metrics))
        .route("/v1/tasks", get(list_tasks).post(create_task))
        .route("/v1/tasks/{task_id}", get(get_task))
        .route("/v1/handlers", get(handlers))
        .route(
            "/api-docs/openapi.json",
            get(|| async { Json(ApiDoc::openapi()) }),
        )
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "no such path") })
        .with_state(app)
}

#[utoipa::path(
    post, path = "/v1/tasks", request_body = CreateTaskRequest,
    responses(
        (status = 201, body = CreatedTask),
        (status = 400, body = ErrorBody, description = "not JSON"),
        (status = 422, body = ErrorBody, description = "unknown namespace, or not a task"),
    )
)]
async fn create_task(
    State(app): State<App>,
    request: Result<Json<CreateTaskRequest>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(request) =
        request.map_err(|error| ApiError::new(error.status(), error.body_text()))?;
    let settings = app.settings.get();
    let mut transaction = app.db.begin().await.map_err(ApiError::internal)?;
    let task_id = tasks::create(
        &mut transaction,
        &settings,
        &request.namespace,
        &request.context,
    )
    .await
    .map_err(refuse)?;
    transaction.commit().await.map_err(ApiError::internal)?;
    tracing::info!(%task_id, namespace = request.namespace, "task created");
    let created = CreatedTask {
        task_id,
        status: TaskStatus::Pending,
    };
    Ok((
        StatusCode::CREATED,
        [("location", format!("/v1/tasks/{task_id}"))],
        Json(created),
    ))
}

#[utoipa::path(
    get, path = "/v1/tasks/{task_id}", params(("task_id" = Uuid, Path)),
    responses((status = 200, body = TaskView), (status = 404, body = ErrorBody))
)]
async fn get_task(
    State(app): State<App>,
    task_id: Result<Path<Uuid>, PathRejection>,
) -> Result<Json<TaskView>, ApiError> {
    let Path(task_id) =
        task_id.map_err(|error| ApiError::new(error.status(), error.body_text()))?;
    match tasks::get(&app.db, task_id).await.map_err(refuse)? {
        Some(task) => Ok(Json(task)),
        None => Err(ApiError::new(StatusCode::NOT_FOUND, "no such task")),
    }
}

#[derive(serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    namespace: Option<String>,
    status: Option<TaskStatus>,
    /// At most 500
    limit: Option<u16>,
}

#[utoipa::path(get, path = "/v1/tasks", params(ListQuery), responses((status = 200, body = TaskList)))]
async fn list_tasks(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<TaskList>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::new(error.status(), error.body_text()))?;
    let limit = i64::from(query.limit.unwrap_or(50).min(500));
    let tasks = tasks::list(&app.db, query.namespace.as_deref(), query.status, limit)
        .await
        .map_err(refuse)?;
    Ok(Json(TaskList { tasks }))
}

/// The namespaces and the handlers that their steps need
#[utoipa::path(get, path = "/v1/handlers", responses((status = 200, body = Vec<TaskTemplate>)))]
async fn handlers(State(app): State<App>) -> Json<Vec<TaskTemplate>> {
    Json(app.settings.get().templates.iter().cloned().collect())
}

/// Asks the database, the schema, PGMQ, the configuration and the processor
#[utoipa::path(get, path = "/ready", responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(app): State<App>) -> Readiness {
    app.readiness().await
}

/// Everything at a glance, for people; always 200.
async fn detailed(State(app): State<App>) -> Json<Value> {
    let readiness = app.readiness().await;
    let status = if readiness.is_ready() {
        "ok"
    } else {
        "degraded"
    };
    Json(json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "environment": &*app.environment,
        "connections": {"open": app.db.size(), "idle": app.db.num_idle()},
        "checks": readiness.checks,
    }))
}

/// Queue lengths are measured when somebody asks for them. Without the database the old values stay.
async fn measure_queues(app: &App) {
    let limit = app.settings.get().config.system.readiness_timeout();
    let measure = async {
        for queue in app.queues() {
            if let Ok(metrics) = pgmq_notify::metrics(&app.db, &queue).await {
                // A gauge is a float; lengths beyond 2^53 do not happen.
                #[allow(clippy::cast_precision_loss)]
                metrics::gauge!("tasker_queue_length", "queue" => queue).set(metrics.length as f64);
            }
        }
    };
    let _ = tokio::time::timeout(limit, measure).await;
}

fn refuse(error: TaskError) -> ApiError {
    match error {
        TaskError::UnknownNamespace { .. } | TaskError::ContextIsNoObject => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        // PostgreSQL's class of unusable data, such as a text with a NUL character.
        TaskError::Database(sqlx::Error::Database(cause))
            if cause.code().is_some_and(|code| code.starts_with("22")) =>
        {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, cause.message())
        }
        other => ApiError::internal(other),
    }
}

#[cfg(all(test, feature = "test-utils"))]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tasker_shared::config::SettingsReceiver;
    use tasker_shared::readiness::Heartbeat;
    use tasker_shared::{database, telemetry, test_utils};
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt;

    /// A server whose database nobody can reach.
    fn lonely_server() -> Router {
        let settings = test_utils::settings();
        let db = database::pool(&test_utils::source(), &settings.config.database, "test")
            .expect("a lazy pool");
        let app = App {
            db,
            settings: SettingsReceiver::fixed(settings),
            environment: "test".into(),
            heartbeat: Heartbeat::default(),
            drain: CancellationToken::new(),
        };
        router(app, telemetry::test_metrics())
    }

    async fn status_of(request: Request<Body>) -> StatusCode {
        lonely_server()
            .oneshot(request)
            .await
            .expect("the router cannot fail")
            .status()
    }

    fn get_request(path: &str) -> Request<Body> {
        Request::get(path).body(Body::empty()).expect("a request")
    }

    #[tokio::test]
    async fn without_a_database_it_is_alive_but_not_ready() {
        assert_eq!(status_of(get_request("/health")).await, StatusCode::OK);
        assert_eq!(status_of(get_request("/live")).await, StatusCode::OK);
        assert_eq!(
            status_of(get_request("/ready")).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn wrong_requests_are_refused_before_the_database_is_asked() {
        let wrong = Request::post("/v1/tasks")
            .header("content-type", "application/json")
            .body(Body::from("{}"))
            .expect("a request");
        assert_eq!(status_of(wrong).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            status_of(get_request("/v1/tasks/7")).await,
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            status_of(get_request("/nowhere")).await,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn the_interface_describes_itself() {
        assert_eq!(
            status_of(get_request("/api-docs/openapi.json")).await,
            StatusCode::OK
        );
        let paths = ApiDoc::openapi().paths.paths;
        assert!(paths.contains_key("/v1/tasks/{task_id}"));
    }
}
