//! For handlers in another language. The program of that language asks for steps and says what became of them; everything else
//! happens on threads of this library, which never call into the other language.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tasker_shared::messages::StepMessage;
use tasker_shared::shutdown::Shutdown;
use tokio::sync::oneshot;

use crate::handler::{HandlerRegistry, Handling, StepError, StepHandler, StepInput};
use crate::{app, cli, Profile};

/// What the program of the other language says about itself.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Handlers {
    pub namespaces: Vec<String>,
    /// The names of the handlers it has.
    pub handlers: Vec<String>,
    /// How many steps it can do at the same time: more are not claimed.
    pub threads: usize,
}

/// A step to do.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Offer {
    /// Names this attempt when its outcome is told.
    pub id: u64,
    pub attempt: i32,
    #[serde(flatten)]
    pub step: StepMessage,
}

/// The answer to a program that asks for a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Step(Box<Offer>),
    /// None came in the time given.
    Nothing,
    /// None will come any more.
    Ended,
}

/// `{"result": …}` or `{"error": "…", "retryable": …}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Done {
        result: Value,
    },
    Failed {
        error: String,
        #[serde(default = "yes")]
        retryable: bool,
    },
}

fn yes() -> bool {
    true
}

type Outcome = Result<Value, StepError>;

#[derive(Default)]
struct State {
    last_id: u64,
    waiting: VecDeque<Offer>,
    answers: BTreeMap<u64, oneshot::Sender<Outcome>>,
    closed: bool,
}

/// Where steps lie until they are fetched, and where their outcomes are handed in.
#[derive(Clone, Default)]
struct Desk(Arc<(Mutex<State>, Condvar)>);

impl Desk {
    /// A thread that panicked here has left nothing half done: every change is one statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0 .0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, input: &StepInput) -> (Slip, oneshot::Receiver<Outcome>) {
        let (answer, outcome) = oneshot::channel();
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        state.answers.insert(id, answer);
        state.waiting.push_back(Offer {
            id,
            attempt: input.attempt,
            step: input.step.clone(),
        });
        self.0 .1.notify_one();
        let desk = self.clone();
        (Slip { desk, id }, outcome)
    }

    fn next(&self, patience: Duration) -> Next {
        let end = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if let Some(offer) = state.waiting.pop_front() {
                return Next::Step(Box::new(offer));
            }
            if state.closed {
                return Next::Ended;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            let woken = self.0 .1.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn complete(&self, id: u64, answer: &str) -> bool {
        let outcome = match serde_json::from_str(answer) {
            Ok(Answer::Done { result }) => Ok(result),
            Ok(Answer::Failed { error, retryable }) => Err(StepError {
                message: error,
                retryable,
            }),
            Err(error) => Err(StepError::permanent(format!(
                "the handler's answer is none: {error}"
            ))),
        };
        let answer = self.state().answers.remove(&id);
        answer.is_some_and(|answer| answer.send(outcome).is_ok())
    }

    fn close(&self) {
        self.state().closed = true;
        self.0 .1.notify_all();
    }
}

impl StepHandler for Desk {
    fn handle<'a>(&'a self, input: &'a StepInput) -> Handling<'a> {
        Box::pin(async move {
            let (slip, outcome) = self.put(input);
            let outcome = outcome.await;
            drop(slip);
            outcome.unwrap_or_else(|_| Err(StepError::retryable("the handler gave no answer")))
        })
    }
}

/// Takes a step back when nobody waits for its outcome any more, as after its time limit.
struct Slip {
    desk: Desk,
    id: u64,
}

impl Drop for Slip {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.answers.remove(&self.id);
        state.waiting.retain(|offer| offer.id != self.id);
    }
}

/// Closes the desk however the worker ends, so that nobody waits for ever.
struct Closing(Desk);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A worker on threads of its own, for a program that is not written in Rust.
pub struct Worker {
    desk: Desk,
    shutdown: Shutdown,
    thread: Mutex<Option<JoinHandle<anyhow::Result<()>>>>,
}

impl Worker {
    /// Starts to claim steps. Signals are left to the program: it calls [`stop`](Self::stop).
    pub fn start(program: &'static str, language: &str, about: Handlers) -> anyhow::Result<Self> {
        anyhow::ensure!(about.threads > 0, "no threads to do steps with");
        let desk = Desk::default();
        let handlers = about
            .handlers
            .iter()
            .fold(HandlerRegistry::new(), |registry, name| {
                registry.with(name, desk.clone())
            });
        let profile = Profile {
            program,
            language: language.to_owned(),
            namespaces: about.namespaces,
            handlers,
            at_once: Some(about.threads),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("no threads to work on")?;
        let shutdown = Shutdown::default();
        let (closing, signals) = (Closing(desk.clone()), shutdown.clone());
        let thread = std::thread::Builder::new()
            .name("tasker".to_owned())
            .spawn(move || {
                let _closing = closing;
                runtime.block_on(app::serve(profile, signals))
            })?;
        Ok(Self {
            desk,
            shutdown,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The next step to do, waiting for it up to `patience`. Any number of threads may ask.
    pub fn next(&self, patience: Duration) -> Next {
        self.desk.next(patience)
    }

    /// Hands in the outcome of a step; false if it comes too late.
    pub fn complete(&self, id: u64, answer: &str) -> bool {
        self.desk.complete(id, answer)
    }

    /// Nothing new is claimed; what is in flight may be finished.
    pub fn stop(&self) {
        self.shutdown.drain.cancel();
    }

    /// Waits for the end and says why it came. A second call finds nothing to wait for.
    pub fn wait(&self) -> anyhow::Result<()> {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match thread.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => anyhow::bail!("the worker broke"),
        }
    }
}

/// Asks the running worker on this host whether it is ready and prints what it says.
pub fn healthcheck() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.is_ok_and(|runtime| runtime.block_on(cli::is_ready(&Default::default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const SOON: Duration = Duration::from_secs(10);

    fn input() -> StepInput {
        StepInput {
            attempt: 2,
            step: StepMessage {
                task_id: Uuid::nil(),
                step_id: Uuid::nil(),
                namespace: "analytics".to_owned(),
                step_name: "s".to_owned(),
                handler: "analytics.s".to_owned(),
                max_attempts: 3,
                context: json!({"a": 1}),
                dependency_results: BTreeMap::new(),
            },
        }
    }

    /// Does one step on another thread, as a program of another language does.
    fn answer_one(desk: &Desk, answer: &'static str) -> std::thread::JoinHandle<Offer> {
        let desk = desk.clone();
        std::thread::spawn(move || match desk.next(SOON) {
            Next::Step(offer) => {
                assert!(desk.complete(offer.id, answer));
                assert!(!desk.complete(offer.id, answer), "only once");
                *offer
            }
            other => panic!("{other:?}"),
        })
    }

    #[tokio::test]
    async fn a_step_goes_out_and_its_outcome_comes_back() {
        let desk = Desk::default();
        let program = answer_one(&desk, r#"{"result": {"b": 2}}"#);
        assert_eq!(desk.handle(&input()).await, Ok(json!({"b": 2})));
        let offer = serde_json::to_value(program.join().expect("an offer")).expect("JSON");
        assert_eq!(offer["handler"], "analytics.s");
        assert_eq!(offer["attempt"], 2);
    }

    #[tokio::test]
    async fn failures_say_whether_to_try_again() {
        for (answer, retryable) in [
            (r#"{"error": "busy"}"#, true),
            (r#"{"error": "no such card", "retryable": false}"#, false),
            ("nonsense", false),
        ] {
            let desk = Desk::default();
            let program = answer_one(&desk, answer);
            let outcome = desk.handle(&input()).await;
            assert_eq!(outcome.expect_err(answer).retryable, retryable, "{answer}");
            program.join().expect("an offer");
        }
    }

    #[tokio::test]
    async fn a_step_that_nobody_waits_for_is_not_handed_out() {
        let desk = Desk::default();
        let input = input();
        let late = tokio::time::timeout(Duration::from_millis(5), desk.handle(&input)).await;
        assert!(late.is_err());
        assert_eq!(desk.next(Duration::ZERO), Next::Nothing);
        assert!(!desk.complete(1, r#"{"result": 1}"#));
        drop(Closing(desk.clone()));
        assert_eq!(desk.next(SOON), Next::Ended);
    }
}
