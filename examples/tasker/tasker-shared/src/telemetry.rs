//! Logs to standard output and metrics for Prometheus.

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
pub use metrics_exporter_prometheus::PrometheusHandle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{reload, EnvFilter, Layer, Registry};

use crate::config::{ConfigSource, LogFormat, Telemetry};

/// Changes the log level of the running program.
#[derive(Clone)]
pub struct LogControl(Option<reload::Handle<EnvFilter, Registry>>);

impl LogControl {
    /// Changes nothing: for tests and one-shot commands.
    pub fn none() -> Self {
        Self(None)
    }

    pub fn set(&self, level: &str) {
        let Some(handle) = &self.0 else { return };
        let changed = filter(level).and_then(|filter| handle.reload(filter).map_err(Into::into));
        match changed {
            Ok(()) => tracing::info!(level, "log level changed"),
            Err(error) => tracing::error!(level, %error, "log level not changed"),
        }
    }
}

/// Starts logging with LOG_LEVEL, else RUST_LOG, else the configured level.
pub fn init_logs(source: &ConfigSource, telemetry: &Telemetry) -> anyhow::Result<LogControl> {
    let level = source
        .variable("LOG_LEVEL")
        .or_else(|| source.variable("RUST_LOG"))
        .unwrap_or_else(|| telemetry.log_level.clone());
    let (filter, handle) = reload::Layer::new(filter(&level)?);
    let layer = tracing_subscriber::fmt::layer();
    let layer = match telemetry.log_format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter));

    // The address is TOKIO_CONSOLE_BIND, which console-subscriber reads itself.
    #[cfg(all(feature = "tokio-console", tokio_unstable))]
    let registry = registry.with(
        console_subscriber::ConsoleLayer::builder()
            .with_default_env()
            .spawn(),
    );

    registry.try_init().context("logging was set up before")?;
    Ok(LogControl(Some(handle)))
}

/// `level` is a word or a list of directives, as RUST_LOG has it.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let directives = match level.to_ascii_lowercase().as_str() {
        // Who asks for more wants more of Tasker, not every packet of its libraries.
        word @ ("debug" | "trace") => {
            format!("{word},h2=info,hyper=info,hyper_util=info,reqwest=info,sqlx=info")
        }
        _ => level.to_owned(),
    };
    EnvFilter::builder()
        .parse(directives)
        .with_context(|| format!("'{level}' is no log level"))
}

/// Installs the recorder behind `/metrics`.
pub fn init_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .install_recorder()
        .context("metrics were set up before")
}

/// A recorder that nothing reports to.
#[cfg(feature = "test-utils")]
pub fn test_metrics() -> PrometheusHandle {
    PrometheusBuilder::new().build_recorder().handle()
}
