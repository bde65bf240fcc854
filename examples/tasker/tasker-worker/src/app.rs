//! Puts the parts together and runs them until a signal comes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pgmq_notify::Wake;
use sqlx::PgPool;
use tasker_client::TaskerClient;
use tasker_shared::config::{watch, ConfigSource, Settings, SettingsReceiver, Worker};
use tasker_shared::messages::WorkerIdentity;
use tasker_shared::readiness::{Check, Readiness};
use tasker_shared::shutdown::Shutdown;
use tasker_shared::{database, host_name, telemetry};
use tokio_util::sync::CancellationToken;

use crate::processor::Processor;
use crate::status::Status;
use crate::{web, HandlerRegistry, Profile};

/// What the web handlers share.
#[derive(Clone)]
pub struct App {
    pub db: PgPool,
    pub settings: SettingsReceiver,
    pub environment: Arc<str>,
    pub namespaces: Arc<[String]>,
    pub handlers: HandlerRegistry,
    pub status: Status,
    pub drain: CancellationToken,
}

impl App {
    /// The queues this worker reads and the one it reports to.
    fn queues(&self) -> Vec<String> {
        let settings = self.settings.get();
        let queues = &settings.config.queues;
        let mut names: Vec<String> = self
            .namespaces
            .iter()
            .map(|name| queues.worker(name))
            .collect();
        names.push(queues.step_results.clone());
        names
    }

    pub async fn readiness(&self) -> Readiness {
        let settings = self.settings.get();
        let limit = settings.config.system.readiness_timeout();
        let queues = self.queues();
        let orchestration = check_orchestration(&settings.config.worker.orchestration_url, limit);
        let (mut checks, orchestration) = tokio::join!(
            database::check_all(&self.db, &queues, limit),
            Check::ask("orchestration", limit, orchestration),
        );
        checks.push(orchestration);
        checks.push(Check::known("processor", self.check_processor()));
        Readiness::new(checks)
    }

    fn check_processor(&self) -> Result<String, String> {
        if self.drain.is_cancelled() {
            return Err("shutting down".to_owned());
        }
        self.status.heartbeat.check()
    }
}

/// Asks whether the orchestration runs; whether it is ready is its own matter.
async fn check_orchestration(url: &str, limit: Duration) -> Result<String, String> {
    let client = TaskerClient::new(url, limit).map_err(|error| error.to_string())?;
    match client.health().await {
        Ok(_) => Ok(format!("{url} answers")),
        Err(error) => Err(error.to_string()),
    }
}

/// The configured namespaces, else those of the program. At least one: a worker without any would idle unnoticed.
fn namespaces(profile: &Profile, worker: &Worker) -> anyhow::Result<Arc<[String]>> {
    let chosen = if worker.namespaces.is_empty() {
        &profile.namespaces
    } else {
        &worker.namespaces
    };
    anyhow::ensure!(!chosen.is_empty(), "there are no namespaces to work for");
    Ok(Arc::from(chosen.as_slice()))
}

fn identity(profile: &Profile, worker: &Worker) -> WorkerIdentity {
    let instance = host_name();
    let worker_id = if worker.worker_id.is_empty() {
        format!("{}-{instance}", profile.program)
    } else {
        worker.worker_id.clone()
    };
    WorkerIdentity {
        worker_id,
        language: profile.language.clone(),
        instance,
    }
}

pub async fn serve(profile: Profile, shutdown: Shutdown) -> anyhow::Result<()> {
    let source = ConfigSource::from_process()?;
    let first = Settings::load(&source)?;
    let config = first.config.clone();
    let log = telemetry::init_logs(&source, &config.telemetry)?;
    let prometheus = telemetry::init_metrics()?;
    let db = database::pool(&source, &config.database, profile.program)?;
    let namespaces = namespaces(&profile, &config.worker)?;
    let status = Status::new(identity(&profile, &config.worker));
    tracing::info!(
        program = profile.program,
        environment = source.environment(),
        version = env!("CARGO_PKG_VERSION"),
        worker_id = status.identity.worker_id,
        namespaces = namespaces.join(","),
        "worker starts"
    );

    let app = App {
        db: db.clone(),
        environment: Arc::from(source.environment()),
        settings: watch(source, first, log, shutdown.stop.clone()),
        namespaces: namespaces.clone(),
        handlers: profile.handlers.clone(),
        status: status.clone(),
        drain: shutdown.drain.clone(),
    };
    let wake = Wake::default();
    if config.event_systems.listen {
        let own: Vec<String> = namespaces
            .iter()
            .map(|name| config.queues.worker(name))
            .collect();
        tokio::spawn(pgmq_notify::listen(
            db.clone(),
            move |queue| own.iter().any(|name| name == queue),
            wake.clone(),
            config.event_systems.reconnect_delay(),
            shutdown.drain.clone(),
        ));
    }
    let processor = Processor {
        db: db.clone(),
        settings: app.settings.clone(),
        namespaces,
        handlers: profile.handlers,
        at_once: profile.at_once.unwrap_or(usize::MAX),
        status,
        wake,
    };
    // The server answers while the steps in flight are finished, then it ends too.
    let (drain, stop) = (shutdown.drain.clone(), shutdown.stop.clone());
    let grace = config.system.shutdown_grace();
    let work = tokio::spawn(async move {
        let outcome = tokio::spawn(processor.run(drain, grace)).await;
        stop.cancel();
        outcome
    });
    let web = config.worker.web;
    tasker_shared::web::serve(
        web.bind_address,
        web::router(app, prometheus),
        web.request_timeout(),
        shutdown.stop.clone().cancelled_owned(),
    )
    .await?;
    work.await?.context("the processor broke")?;
    db.close().await;
    tracing::info!("worker has ended");
    Ok(())
}
