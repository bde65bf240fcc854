//! Task templates: which steps a task of a namespace has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context};
use serde::{Deserialize, Serialize};

/// PGMQ's limit is 47; the pattern around the namespace takes up to 13.
const LONGEST_NAMESPACE: usize = 34;

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct TaskTemplate {
    pub namespace: String,
    #[serde(default)]
    pub description: String,
    pub steps: Vec<StepTemplate>,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "web-api", derive(utoipa::ToSchema))]
pub struct StepTemplate {
    pub name: String,
    pub handler: String,
    /// Whose workers do this step, where those of the task's own namespace do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default)]
    pub depends_on: Vec<String>,
    #[serde(default = "three")]
    pub max_attempts: u16,
}

fn three() -> u16 {
    3
}

impl TaskTemplate {
    pub fn parse(yaml: &str) -> anyhow::Result<Self> {
        let template: Self = serde_yaml_ng::from_str(yaml)?;
        template.check()?;
        Ok(template)
    }

    /// The namespace whose workers do the step `name`. A template may have changed since the task was created: then the task's own.
    pub fn worker_namespace(&self, name: &str) -> &str {
        self.steps
            .iter()
            .find(|step| step.name == name)
            .and_then(|step| step.namespace.as_deref())
            .unwrap_or(&self.namespace)
    }

    /// The namespaces whose workers do the steps; one may come several times.
    pub fn worker_namespaces(&self) -> impl Iterator<Item = &str> {
        self.steps
            .iter()
            .map(|step| step.namespace.as_deref().unwrap_or(&self.namespace))
    }

    fn check(&self) -> anyhow::Result<()> {
        let own = std::iter::once(self.namespace.as_str());
        for namespace in own.chain(self.worker_namespaces()) {
            ensure!(
                is_identifier(namespace) && namespace.len() <= LONGEST_NAMESPACE,
                "'{namespace}' is no namespace: small letters, digits and _, at most {LONGEST_NAMESPACE} of them"
            );
        }
        ensure!(!self.steps.is_empty(), "there are no steps");
        let mut names = BTreeSet::new();
        for step in &self.steps {
            ensure!(
                names.insert(step.name.as_str()),
                "step '{}' appears twice",
                step.name
            );
            ensure!(
                (1..=100).contains(&step.max_attempts),
                "step '{}': max_attempts must be between 1 and 100",
                step.name
            );
        }
        for step in &self.steps {
            for needed in &step.depends_on {
                ensure!(
                    names.contains(needed.as_str()),
                    "step '{}' depends on '{needed}', which does not exist",
                    step.name
                );
            }
        }
        self.refuse_cycles()
    }

    /// Takes away steps whose dependencies are all gone, until none is left or none can go.
    fn refuse_cycles(&self) -> anyhow::Result<()> {
        let mut done = BTreeSet::new();
        while done.len() < self.steps.len() {
            let next: Vec<&str> = self
                .steps
                .iter()
                .filter(|step| !done.contains(step.name.as_str()))
                .filter(|step| {
                    step.depends_on
                        .iter()
                        .all(|name| done.contains(name.as_str()))
                })
                .map(|step| step.name.as_str())
                .collect();
            if next.is_empty() {
                bail!("the steps depend on each other in a circle");
            }
            done.extend(next);
        }
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Every template, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates(BTreeMap<String, TaskTemplate>);

impl Templates {
    /// Reads every `*.yaml` of `folder`.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let mut templates = Self::default();
        let entries = fs::read_dir(folder)
            .with_context(|| format!("task templates folder {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                fs::read_to_string(&path)
                    .map_err(Into::into)
                    .and_then(|yaml| templates.add(TaskTemplate::parse(&yaml)?))
                    .with_context(|| format!("task template {}", path.display()))?;
            }
        }
        Ok(templates)
    }

    pub fn add(&mut self, template: TaskTemplate) -> anyhow::Result<()> {
        let namespace = template.namespace.clone();
        let before = self.0.insert(namespace.clone(), template);
        ensure!(
            before.is_none(),
            "namespace '{namespace}' has another template"
        );
        Ok(())
    }

    pub fn get(&self, namespace: &str) -> Option<&TaskTemplate> {
        self.0.get(namespace)
    }

    pub fn iter(&self) -> impl Iterator<Item = &TaskTemplate> {
        self.0.values()
    }

    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The namespaces that need workers.
    pub fn worker_namespaces(&self) -> BTreeSet<&str> {
        self.iter()
            .flat_map(TaskTemplate::worker_namespaces)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(yaml: &str) -> String {
        TaskTemplate::parse(yaml)
            .expect_err("the template is wrong")
            .to_string()
    }

    #[test]
    fn the_templates_of_the_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tasks");
        let templates = Templates::load(&folder).expect("valid templates");
        assert_eq!(templates.namespaces().count(), 19);
        assert_eq!(templates.worker_namespaces().len(), 18);
        let tree = templates.get("tree_workflow").expect("tree_workflow");
        assert_eq!(tree.steps.len(), 8);
        assert_eq!(tree.steps[0].max_attempts, 3);
    }

    #[test]
    fn a_step_can_go_to_the_workers_of_another_namespace() {
        let yaml =
            "{namespace: a, steps: [{name: x, handler: h}, {name: y, handler: b.h, namespace: b}]}";
        let template = TaskTemplate::parse(yaml).expect("a valid template");
        assert_eq!(template.worker_namespace("x"), "a");
        assert_eq!(template.worker_namespace("y"), "b");
        assert_eq!(template.worker_namespace("gone"), "a");
        let wrong = "{namespace: a, steps: [{name: x, handler: h, namespace: B}]}";
        assert!(error_of(wrong).contains("'B' is no namespace"));
    }

    #[test]
    fn wrong_templates_are_refused() {
        let unknown = "{namespace: a, steps: [{name: x, handler: h, depends_on: [y]}]}";
        assert!(error_of(unknown).contains("'y', which does not exist"));
        let twice = "{namespace: a, steps: [{name: x, handler: h}, {name: x, handler: h}]}";
        assert!(error_of(twice).contains("appears twice"));
        let circle = "{namespace: a, steps: [{name: x, handler: h, depends_on: [y]}, {name: y, handler: h, depends_on: [x]}]}";
        assert!(error_of(circle).contains("circle"));
        assert!(error_of("{namespace: A-b, steps: []}").contains("no namespace"));
        assert!(error_of("{namespace: a, steps: []}").contains("no steps"));
    }
}
