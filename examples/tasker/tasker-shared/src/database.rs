//! The connection pool and the questions that a ready database must answer.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};

use crate::config::{ConfigSource, Database};
use crate::readiness::Check;
use crate::SCHEMA_VERSION;

/// PostgreSQL's code for a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// A pool that connects when it is first used: a program can start before its database.
pub fn pool(source: &ConfigSource, config: &Database, program: &str) -> anyhow::Result<PgPool> {
    let options = connect_options(source, config)?.application_name(program);
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .min_connections(config.min_connections)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .connect_lazy_with(options))
}

/// The options of `database.url`, with the password of DATABASE_PASSWORD_FILE if that is set.
fn connect_options(source: &ConfigSource, config: &Database) -> anyhow::Result<PgConnectOptions> {
    // The URL is not repeated in the error: it holds the password.
    let mut options = PgConnectOptions::from_str(&config.url)
        .context("DATABASE_URL is not a PostgreSQL URL")?
        // Polling would fill a debug log with its statements.
        .disable_statement_logging();
    if let Some(path) = source.variable("DATABASE_PASSWORD_FILE") {
        let password = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read DATABASE_PASSWORD_FILE {path}"))?;
        options = options.password(password.trim_end_matches(['\r', '\n']));
    }
    Ok(options)
}

/// Is there anybody?
pub async fn check_connection(db: &PgPool) -> Result<String, String> {
    sqlx::query_scalar!(r#"SELECT 1 AS "one!""#)
        .fetch_one(db)
        .await
        .map(|_| "answers".to_owned())
        .map_err(|error| error.to_string())
}

/// Have the migrations been run? Newer ones than ours are fine: they ran before a newer program that is about to start.
pub async fn check_schema(db: &PgPool) -> Result<String, String> {
    const HINT: &str = "run `rust-worker migrate`";
    let version = sqlx::query_scalar!("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(db)
        .await;
    match version {
        Ok(Some(version)) if version >= SCHEMA_VERSION => Ok(format!("version {version}")),
        Ok(version) => Err(format!(
            "schema version {} is older than {SCHEMA_VERSION}: {HINT}",
            version.unwrap_or_default()
        )),
        Err(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) if code == UNDEFINED_TABLE => Err(format!("schema missing: {HINT}")),
            _ => Err(error.to_string()),
        },
    }
}

/// Do the queues exist, and does PGMQ answer about them?
pub async fn check_queues(db: &PgPool, queues: &[String]) -> Result<String, String> {
    let missing = match pgmq_notify::missing(db, queues).await {
        Ok(missing) => missing,
        Err(error) => return Err(error.to_string()),
    };
    if missing.is_empty() {
        Ok(format!("{} queues", queues.len()))
    } else {
        Err(format!("missing queues: {}", missing.join(", ")))
    }
}

/// The three questions about the database. The later ones are not asked when the first fails: they would only wait as well.
pub async fn check_all(db: &PgPool, queues: &[String], limit: Duration) -> Vec<Check> {
    let database = Check::ask("database", limit, check_connection(db)).await;
    if !database.ok {
        return vec![database];
    }
    let (schema, pgmq) = tokio::join!(
        Check::ask("schema", limit, check_schema(db)),
        Check::ask("pgmq", limit, check_queues(db, queues)),
    );
    vec![database, schema, pgmq]
}
