//! Puts the parts together and runs them until a signal comes.

use std::sync::Arc;

use anyhow::Context;
use pgmq_notify::Wake;
use sqlx::PgPool;
use tasker_shared::config::{watch, ConfigSource, Settings, SettingsReceiver};
use tasker_shared::readiness::{Check, Heartbeat, Readiness};
use tasker_shared::shutdown::Shutdown;
use tasker_shared::{database, telemetry};
use tokio_util::sync::CancellationToken;

use crate::processor;
use crate::web;

/// What the web handlers share.
#[derive(Clone)]
pub struct App {
    pub db: PgPool,
    pub settings: SettingsReceiver,
    pub environment: Arc<str>,
    pub heartbeat: Heartbeat,
    pub drain: CancellationToken,
}

impl App {
    /// The three queues of the orchestration and one for each namespace whose workers the templates name.
    pub fn queues(&self) -> Vec<String> {
        let settings = self.settings.get();
        let queues = &settings.config.queues;
        let workers = settings
            .templates
            .worker_namespaces()
            .into_iter()
            .map(|name| queues.worker(name));
        queues.orchestration().into_iter().chain(workers).collect()
    }

    pub async fn readiness(&self) -> Readiness {
        let settings = self.settings.get();
        let limit = settings.config.system.readiness_timeout();
        let mut checks = database::check_all(&self.db, &self.queues(), limit).await;
        checks.push(Check::known(
            "configuration",
            self.check_configuration(&settings),
        ));
        checks.push(Check::known("processor", self.check_processor()));
        Readiness::new(checks)
    }

    fn check_configuration(&self, settings: &Settings) -> Result<String, String> {
        let count = settings.templates.namespaces().count();
        if count == 0 {
            return Err("there are no task templates".to_owned());
        }
        // Broken files do not stop a running server: the last good ones are in use.
        let state = if self.settings.files_are_valid() {
            "valid"
        } else {
            "the files on disk are broken, the last good ones are in use"
        };
        Ok(format!(
            "{}: {count} task templates, {state}",
            self.environment
        ))
    }

    fn check_processor(&self) -> Result<String, String> {
        if self.drain.is_cancelled() {
            return Err("shutting down".to_owned());
        }
        self.heartbeat.check()
    }
}

pub async fn serve() -> anyhow::Result<()> {
    let source = ConfigSource::from_process()?;
    let first = Settings::load(&source)?;
    let config = first.config.clone();
    let log = telemetry::init_logs(&source, &config.telemetry)?;
    let prometheus = telemetry::init_metrics()?;
    let shutdown = Shutdown::on_signals()?;
    let db = database::pool(&source, &config.database, "tasker-server")?;
    let environment = Arc::from(source.environment());
    tracing::info!(
        environment = source.environment(),
        version = env!("CARGO_PKG_VERSION"),
        "tasker-server starts"
    );

    let app = App {
        db: db.clone(),
        settings: watch(source, first, log, shutdown.stop.clone()),
        environment,
        heartbeat: Heartbeat::default(),
        drain: shutdown.drain.clone(),
    };
    let wake = Wake::default();
    if config.event_systems.listen {
        let own = config.queues.orchestration();
        tokio::spawn(pgmq_notify::listen(
            db.clone(),
            move |queue| own.iter().any(|name| name == queue),
            wake.clone(),
            config.event_systems.reconnect_delay(),
            shutdown.drain.clone(),
        ));
    }
    let mut processor = tokio::spawn(processor::run(
        db.clone(),
        app.settings.clone(),
        wake,
        app.heartbeat.clone(),
        shutdown.drain.clone(),
    ));

    // The server answers while the processor ends its work, then it ends too.
    let grace = config.system.shutdown_grace();
    let (drain, stop) = (shutdown.drain.clone(), shutdown.stop.clone());
    let work = tokio::spawn(async move {
        let patience = async {
            drain.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let outcome = tokio::select! {
            outcome = &mut processor => outcome,
            () = patience => {
                tracing::warn!("work left behind: it is taken up again after its visibility timeout");
                Ok(())
            }
        };
        stop.cancel();
        outcome
    });
    let web = config.orchestration.web;
    tasker_shared::web::serve(
        web.bind_address,
        web::router(app, prometheus),
        web.request_timeout(),
        shutdown.stop.clone().cancelled_owned(),
    )
    .await?;
    work.await?.context("the processor broke")?;
    db.close().await;
    tracing::info!("tasker-server has ended");
    Ok(())
}
