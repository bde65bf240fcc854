//! Handlers: the code that does a step.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tasker_shared::messages::StepMessage;

/// A handler at work.
pub type Handling<'a> = Pin<Box<dyn Future<Output = Result<Value, StepError>> + Send + 'a>>;

/// Does one kind of step. It may be called again with the same input, after a failure or a crash.
pub trait StepHandler: Send + Sync {
    fn handle<'a>(&'a self, input: &'a StepInput) -> Handling<'a>;
}

/// A plain function is a handler, as long as it is quick: it runs on the threads that everything else runs on.
impl<F> StepHandler for F
where
    F: Fn(&StepInput) -> Result<Value, StepError> + Send + Sync,
{
    fn handle<'a>(&'a self, input: &'a StepInput) -> Handling<'a> {
        Box::pin(async move { self(input) })
    }
}

/// What a handler gets.
#[derive(Debug, Clone)]
pub struct StepInput {
    pub step: StepMessage,
    /// Counts from 1.
    pub attempt: i32,
}

impl StepInput {
    /// The result of a step that this one depends on.
    pub fn result_of(&self, step: &str) -> Result<&Value, StepError> {
        self.step
            .dependency_results
            .get(step)
            .ok_or_else(|| StepError::permanent(format!("there is no result of step '{step}'")))
    }

    /// A field of the result of another step, as a whole number.
    pub fn integer_of(&self, step: &str, field: &str) -> Result<i64, StepError> {
        self.result_of(step)?[field].as_i64().ok_or_else(|| {
            StepError::permanent(format!(
                "the result of step '{step}' has no whole number '{field}'"
            ))
        })
    }

    /// A whole number of the task's context, or `default` where it is missing.
    pub fn context_integer(&self, field: &str, default: i64) -> Result<i64, StepError> {
        match &self.step.context[field] {
            Value::Null => Ok(default),
            value => value.as_i64().ok_or_else(|| {
                StepError::permanent(format!("context.{field} must be a whole number"))
            }),
        }
    }

    /// A text of the task's context, or `default` where it is missing.
    pub fn context_text<'a>(&'a self, field: &str, default: &'a str) -> Result<&'a str, StepError> {
        match &self.step.context[field] {
            Value::Null => Ok(default),
            value => value
                .as_str()
                .ok_or_else(|| StepError::permanent(format!("context.{field} must be a text"))),
        }
    }
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    pub message: String,
    /// Whether another attempt may do better.
    pub retryable: bool,
}

impl StepError {
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
        }
    }

    pub fn retryable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: true,
        }
    }
}

/// The handlers of a program, by the name that task templates use.
#[derive(Clone, Default)]
pub struct HandlerRegistry {
    handlers: BTreeMap<String, Arc<dyn StepHandler>>,
    fallback: Option<Arc<dyn StepHandler>>,
}

impl HandlerRegistry {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with(mut self, name: &str, handler: impl StepHandler + 'static) -> Self {
        self.handlers.insert(name.to_owned(), Arc::new(handler));
        self
    }

    /// The same as [`with`](Self::with) for a function; the bound lets closures be written without types.
    #[must_use]
    pub fn with_fn(
        self,
        name: &str,
        handler: impl Fn(&StepInput) -> Result<Value, StepError> + Send + Sync + 'static,
    ) -> Self {
        self.with(name, handler)
    }

    /// Handles every step that has no handler of its own.
    #[must_use]
    pub fn with_fallback(mut self, handler: impl StepHandler + 'static) -> Self {
        self.fallback = Some(Arc::new(handler));
        self
    }

    pub fn get(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        self.handlers.get(name).or(self.fallback.as_ref()).cloned()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.handlers.keys().map(String::as_str)
    }
}

impl fmt::Debug for HandlerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.handlers.keys()).finish()
    }
}
