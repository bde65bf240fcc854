//! Finds the configuration and reads it: base values, overlaid by those of one environment, with variables replaced.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::substitute::substitute;
use super::Config;

/// Where variables come from: the process environment, or a fixed list in tests.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("neither TASKER_CONFIG_ROOT nor WORKSPACE_PATH is set: the folder of the configuration is unknown")]
    NoRoot,
    #[error("there is no environment '{name}' in {folder}; TASKER_ENV can be one of: {known}")]
    UnknownEnvironment {
        name: String,
        folder: PathBuf,
        known: String,
    },
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("configuration of environment '{environment}': {reason}")]
    Invalid { environment: String, reason: String },
}

impl ConfigError {
    fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// One configuration folder seen by one environment.
#[derive(Clone)]
pub struct ConfigSource {
    root: PathBuf,
    environment: String,
    env: Environment,
}

impl ConfigSource {
    /// The source that the process environment names.
    pub fn from_process() -> Result<Self, ConfigError> {
        Self::new(Arc::new(|name| std::env::var(name).ok()))
    }

    pub fn new(env: Environment) -> Result<Self, ConfigError> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let root = match (set("TASKER_CONFIG_ROOT"), set("WORKSPACE_PATH")) {
            (Some(root), _) => PathBuf::from(root),
            (None, Some(workspace)) => Path::new(&workspace).join("config"),
            (None, None) => return Err(ConfigError::NoRoot),
        };
        let environment = set("TASKER_ENV").unwrap_or_else(|| "development".to_owned());
        let folder = root.join("tasker/environments");
        let known = sub_folders(&folder).map_err(|error| ConfigError::file(&folder, error))?;
        if !known.contains(&environment) {
            return Err(ConfigError::UnknownEnvironment {
                name: environment,
                folder,
                known: known.into_iter().collect::<Vec<_>>().join(", "),
            });
        }
        Ok(Self {
            root,
            environment,
            env,
        })
    }

    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// A variable of the environment this source was made with.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    pub fn load(&self) -> Result<Config, ConfigError> {
        self.refuse_unknown_files()?;
        let mut whole = Table::new();
        for component in Config::COMPONENTS {
            overlay(&mut whole, self.merged(component)?);
        }
        self.finish(whole)
    }

    /// Reads one component alone: a health check must not fail because of a variable that it does not need.
    pub fn load_component<T: DeserializeOwned>(&self, component: &str) -> Result<T, ConfigError> {
        let mut merged = self.merged(component)?;
        match merged.remove(component) {
            Some(Value::Table(table)) => self.finish(table),
            _ => Err(self.invalid(format!("there is no table [{component}]"))),
        }
    }

    pub fn templates_folder(&self, config: &Config) -> PathBuf {
        self.root.join(&config.task_templates.directory)
    }

    /// Changes whenever the content of a file under the configuration folder does. Times would not do: a bind mount or a
    /// swapped symbolic link can bring new content with an old time.
    pub fn content_digest(&self) -> io::Result<u64> {
        let mut hasher = DefaultHasher::new();
        digest_folder(&self.root, &mut hasher)?;
        Ok(hasher.finish())
    }

    fn merged(&self, component: &str) -> Result<Table, ConfigError> {
        let file = format!("{component}.toml");
        let mut merged = read_table(&self.base().join(&file))?;
        let special = self.special().join(&file);
        if special.exists() {
            overlay(&mut merged, read_table(&special)?);
        }
        Ok(merged)
    }

    fn finish<T: DeserializeOwned>(&self, table: Table) -> Result<T, ConfigError> {
        let mut value = Value::Table(table);
        substitute(&mut value, &*self.env).map_err(|reason| self.invalid(reason))?;
        value
            .try_into()
            .map_err(|error: toml::de::Error| self.invalid(error.to_string()))
    }

    /// A file that nobody reads is a misspelt name.
    fn refuse_unknown_files(&self) -> Result<(), ConfigError> {
        for folder in [self.base(), self.special()] {
            let entries =
                fs::read_dir(&folder).map_err(|error| ConfigError::file(&folder, error))?;
            for entry in entries {
                let path = entry
                    .map_err(|error| ConfigError::file(&folder, error))?
                    .path();
                let is_toml = path
                    .extension()
                    .is_some_and(|extension| extension == "toml");
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                if is_toml && !stem.is_some_and(|stem| Config::COMPONENTS.contains(&stem)) {
                    let known = Config::COMPONENTS.join(", ");
                    let reason = format!("no such component; there are: {known}");
                    return Err(ConfigError::file(&path, reason));
                }
            }
        }
        Ok(())
    }

    fn base(&self) -> PathBuf {
        self.root.join("tasker/base")
    }

    fn special(&self) -> PathBuf {
        self.root
            .join("tasker/environments")
            .join(&self.environment)
    }

    fn invalid(&self, reason: String) -> ConfigError {
        ConfigError::Invalid {
            environment: self.environment.clone(),
            reason,
        }
    }
}

fn sub_folders(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn read_table(path: &Path) -> Result<Table, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::file(path, error))?;
    text.parse()
        .map_err(|error: toml::de::Error| ConfigError::file(path, error))
}

fn overlay(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn digest_folder(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        path.hash(hasher);
        if path.is_dir() {
            digest_folder(&path, hasher)?;
        } else {
            fs::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;

    fn workspace() -> &'static str {
        concat!(env!("CARGO_MANIFEST_DIR"), "/..")
    }

    fn source(pairs: &'static [(&'static str, &'static str)]) -> Result<ConfigSource, ConfigError> {
        ConfigSource::new(Arc::new(move |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
                .or_else(|| (name == "WORKSPACE_PATH").then(|| workspace().to_owned()))
        }))
    }

    #[test]
    fn every_environment_of_the_repository_loads() {
        for environment in ["development", "integration", "production", "test"] {
            let source = ConfigSource::new(Arc::new(move |name| match name {
                "WORKSPACE_PATH" => Some(workspace().to_owned()),
                "TASKER_ENV" => Some(environment.to_owned()),
                "DATABASE_URL" => Some("postgresql://tasker@localhost/tasker".to_owned()),
                _ => None,
            }))
            .expect("the environment exists");
            let config = source.load().expect("the configuration is valid");
            assert_eq!(config.worker.orchestration_url, "http://localhost:8080");
        }
    }

    #[test]
    fn environments_overlay_the_base() {
        let source = source(&[
            ("TASKER_ENV", "production"),
            ("DATABASE_URL", "postgresql://x/y"),
        ])
        .expect("production exists");
        let config = source.load().expect("the configuration is valid");
        assert_eq!(config.telemetry.log_format, LogFormat::Json);
        assert_eq!(config.telemetry.log_level, "info");
        assert_eq!(config.orchestration.web.bind_address.port(), 8080);
        assert_eq!(config.worker.web.bind_address.port(), 8081);
    }

    #[test]
    fn an_unknown_environment_lists_the_known_ones() {
        let error = source(&[("TASKER_ENV", "producton")])
            .err()
            .expect("there is no such environment");
        let text = error.to_string();
        assert!(text.contains("producton"), "{text}");
        assert!(
            text.contains("development, integration, production, test"),
            "{text}"
        );
    }

    #[test]
    fn a_component_needs_only_its_own_variables() {
        let source = source(&[]).expect("development exists");
        assert!(source.load().is_err(), "DATABASE_URL is not set");
        let worker: crate::config::Worker = source.load_component("worker").expect("worker alone");
        assert_eq!(worker.web.bind_address.port(), 8081);
    }

    #[test]
    fn the_digest_follows_the_content() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("tasker/environments/test")).expect("created");
        let root = folder.path().to_string_lossy().into_owned();
        let source = ConfigSource::new(Arc::new(move |name| match name {
            "TASKER_CONFIG_ROOT" => Some(root.clone()),
            "TASKER_ENV" => Some("test".to_owned()),
            _ => None,
        }))
        .expect("the environment exists");
        let before = source.content_digest().expect("readable");
        assert_eq!(before, source.content_digest().expect("readable"));
        fs::write(folder.path().join("tasker/x.toml"), "a = 1").expect("written");
        assert_ne!(before, source.content_digest().expect("readable"));
    }
}
