//! The `healthcheck` command: asks the program's own port, so that an image needs no HTTP client of its own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

/// Shorter than the time that container engines give a health check.
const LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Default, Args)]
pub struct HealthcheckArgs {
    /// Where the program listens [default: the configured port on this host]
    #[arg(long)]
    pub url: Option<String>,
    /// What to ask for [default: the path that says whether it is ready]
    #[arg(long)]
    pub path: Option<String>,
}

impl HealthcheckArgs {
    /// The same as [`is_healthy`](Self::is_healthy), as the exit code of a program.
    pub async fn run(
        &self,
        default_path: &str,
        bind_address: impl FnOnce() -> anyhow::Result<SocketAddr>,
    ) -> ExitCode {
        if self.is_healthy(default_path, bind_address).await {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Prints one line; true means the answer was 2xx.
    pub async fn is_healthy(
        &self,
        default_path: &str,
        bind_address: impl FnOnce() -> anyhow::Result<SocketAddr>,
    ) -> bool {
        let outcome = match self.target(default_path, bind_address) {
            Ok(url) => ask(&url).await,
            Err(error) => Err(format!("{error:#}")),
        };
        match outcome {
            Ok(line) => {
                println!("healthy: {line}");
                true
            }
            Err(line) => {
                println!("unhealthy: {line}");
                false
            }
        }
    }

    fn target(
        &self,
        default_path: &str,
        bind_address: impl FnOnce() -> anyhow::Result<SocketAddr>,
    ) -> anyhow::Result<String> {
        let base = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(bind_address()?)),
        };
        let path = self.path.as_deref().unwrap_or(default_path);
        Ok(format!("{base}/{}", path.trim_start_matches('/')))
    }
}

async fn ask(url: &str) -> Result<String, String> {
    // No proxy: the question never leaves this host.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(LIMIT)
        .build()
        .map_err(|error| error.to_string())?;
    let response = client.get(url).send().await.map_err(|error| {
        let reason = if error.is_timeout() {
            format!("no answer within {} s", LIMIT.as_secs())
        } else if error.is_connect() {
            "cannot connect".to_owned()
        } else {
            error.to_string()
        };
        format!("{url}: {reason}")
    })?;
    let line = format!("{url}: {}", response.status());
    if response.status().is_success() {
        return Ok(line);
    }
    let body = response.text().await.unwrap_or_default().replace('\n', " ");
    Err(format!("{line} {body}"))
}

/// An address to listen on everywhere is no address to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            address.set_ip(Ipv4Addr::LOCALHOST.into())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            address.set_ip(Ipv6Addr::LOCALHOST.into())
        }
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: Option<&str>, path: Option<&str>) -> String {
        HealthcheckArgs {
            url: url.map(str::to_owned),
            path: path.map(str::to_owned),
        }
        .target("/ready", || Ok(SocketAddr::from(([0, 0, 0, 0], 8080))))
        .expect("a target")
    }

    #[test]
    fn the_default_is_the_own_port() {
        assert_eq!(target(None, None), "http://127.0.0.1:8080/ready");
        assert_eq!(target(None, Some("live")), "http://127.0.0.1:8080/live");
        assert_eq!(
            target(Some("http://other:1/"), None),
            "http://other:1/ready"
        );
    }

    #[tokio::test]
    async fn nobody_listening_is_unhealthy() {
        let error = ask("http://127.0.0.1:1/ready")
            .await
            .expect_err("port 1 is closed");
        assert_eq!(error, "http://127.0.0.1:1/ready: cannot connect");
    }
}
