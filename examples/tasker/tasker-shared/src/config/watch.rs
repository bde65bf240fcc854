//! Keeps the settings up to date while the program runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::{Config, ConfigSource};
use crate::telemetry::LogControl;
use crate::templates::Templates;

/// The configuration and the task templates that belong together.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub templates: Templates,
}

impl Settings {
    pub fn load(source: &ConfigSource) -> anyhow::Result<Self> {
        let config = source.load()?;
        let templates = Templates::load(&source.templates_folder(&config))?;
        Ok(Self { config, templates })
    }
}

/// Gives the settings of this moment. Addresses, pool sizes and the log format need a restart; everything else is read anew each time.
#[derive(Clone)]
pub struct SettingsReceiver {
    current: channel::Receiver<Arc<Settings>>,
    valid: Arc<AtomicBool>,
}

impl SettingsReceiver {
    pub fn fixed(settings: Settings) -> Self {
        let (_, current) = channel::channel(Arc::new(settings));
        Self {
            current,
            valid: Arc::new(AtomicBool::new(true)),
        }
    }

    pub fn get(&self) -> Arc<Settings> {
        self.current.borrow().clone()
    }

    /// False while the files are broken and the last good settings stay in use.
    pub fn files_are_valid(&self) -> bool {
        self.valid.load(Ordering::Relaxed)
    }
}

/// Looks at the files every `reload_interval` until `stop`. A change that cannot be read is reported and ignored.
pub fn watch(
    source: ConfigSource,
    first: Settings,
    log: LogControl,
    stop: CancellationToken,
) -> SettingsReceiver {
    let valid = Arc::new(AtomicBool::new(true));
    let (sender, current) = channel::channel(Arc::new(first));
    let receiver = SettingsReceiver {
        current,
        valid: valid.clone(),
    };
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let mut seen = source.content_digest().ok();
        loop {
            let now = sender.borrow().clone();
            tokio::time::sleep(now.config.system.reload_interval()).await;
            // An unreadable folder is most likely being replaced: look again next time.
            let Ok(digest) = source.content_digest() else {
                continue;
            };
            if seen.replace(digest) == Some(digest) {
                continue;
            }
            match Settings::load(&source) {
                Ok(new) => {
                    let level = &new.config.telemetry.log_level;
                    if *level != now.config.telemetry.log_level {
                        log.set(level);
                    }
                    sender.send_replace(Arc::new(new));
                    valid.store(true, Ordering::Relaxed);
                    tracing::info!("configuration reloaded");
                }
                Err(error) => {
                    valid.store(false, Ordering::Relaxed);
                    tracing::error!(
                        error = format!("{error:#}"),
                        "configuration not reloaded, the last good one stays"
                    );
                }
            }
        }
    }));
    receiver
}
