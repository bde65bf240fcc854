//! Signals, and the order in which a program ends.

use tokio::signal::unix::{signal, SignalKind};
use tokio_util::sync::CancellationToken;

/// Two stages: first no new work is taken, then, when the work at hand is done, nothing is answered any more.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the program shall end: stop taking work.
    pub drain: CancellationToken,
    /// Cancelled when the work is done: stop the web server and the rest.
    pub stop: CancellationToken,
}

impl Shutdown {
    /// Starts draining at the first SIGTERM or SIGINT; a second one ends the process at once.
    pub fn on_signals() -> anyhow::Result<Self> {
        let shutdown = Self::default();
        let drain = shutdown.drain.clone();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let name = next().await;
            tracing::info!(signal = name, "shutting down");
            drain.cancel();
            let name = next().await;
            tracing::warn!(signal = name, "shutting down at once");
            std::process::exit(1);
        });
        Ok(shutdown)
    }
}
