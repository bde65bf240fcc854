//! The worker as a library: claiming steps, handling them, reporting back and trying again.
//!
//! A worker program brings a [`Profile`] — its name, the language it speaks for and its handlers — and everything else is here.
//! A worker for another language uses `foreign`.

pub mod handler;
pub mod processor;
pub mod status;

#[cfg(feature = "web-api")]
mod app;
#[cfg(feature = "web-api")]
pub mod cli;
#[cfg(feature = "web-api")]
pub mod foreign;
#[cfg(feature = "web-api")]
mod web;

pub use handler::{HandlerRegistry, Handling, StepError, StepHandler, StepInput};

/// What makes one worker program different from another.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The name of the program; the start of its id when none is configured.
    pub program: &'static str,
    /// The language of the handlers, as it shall stand beside each result.
    pub language: String,
    /// The namespaces whose queues are read when the configuration names none.
    pub namespaces: Vec<String>,
    pub handlers: HandlerRegistry,
    /// How many steps the program can do at the same time, where that is less than the configuration allows.
    pub at_once: Option<usize>,
}
