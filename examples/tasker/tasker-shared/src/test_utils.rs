//! Ready-made settings for tests: the files of the repository, without a process environment.

use std::sync::Arc;

use crate::config::{ConfigSource, Settings};

/// The source of the `test` environment. Nothing listens at its database address.
pub fn source() -> ConfigSource {
    ConfigSource::new(Arc::new(|name| match name {
        "WORKSPACE_PATH" => Some(concat!(env!("CARGO_MANIFEST_DIR"), "/..").to_owned()),
        "TASKER_ENV" => Some("test".to_owned()),
        "DATABASE_URL" => Some("postgresql://nobody@127.0.0.1:1/nothing".to_owned()),
        "TASKER_ORCHESTRATION_URL" => Some("http://127.0.0.1:1".to_owned()),
        _ => None,
    }))
    .expect("the repository has a test environment")
}

pub fn settings() -> Settings {
    Settings::load(&source()).expect("the repository's configuration is valid")
}
