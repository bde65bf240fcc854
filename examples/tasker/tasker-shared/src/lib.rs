//! What every Tasker program has in common.

use std::process::ExitCode;

pub mod config;
pub mod messages;
pub mod model;
pub mod probe;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
pub mod templates;

#[cfg(feature = "postgres")]
pub mod database;
#[cfg(feature = "postgres")]
pub mod steps;
#[cfg(feature = "test-utils")]
pub mod test_utils;
#[cfg(feature = "web-api")]
pub mod web;

/// Turns the outcome of a program into its exit code. Errors are told in one line, without the backtrace that RUST_BACKTRACE would
/// add: most of them are about the configuration.
pub fn exit_code(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// The newest migration this code was written for. tasker-core, which holds the migrations, tests that both agree.
pub const SCHEMA_VERSION: i64 = 20_260_101_000_004;

/// The name of this host; in a container that is its id, which tells replicas with the same worker id apart.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown-host".to_owned())
}
