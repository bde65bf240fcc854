//! The worker for Python. Python's threads ask for steps and hand in outcomes; Rust never calls into Python, and gives up the
//! interpreter's lock wherever it waits.

use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::prelude::*;
use tasker_worker::foreign::{self, Handlers, Next};

/// A running worker.
#[pyclass(frozen)]
struct Core(foreign::Worker);

#[pymethods]
impl Core {
    /// Starts the worker; `about` is JSON: `{"namespaces": […], "handlers": […], "threads": n}`.
    #[new]
    fn start(py: Python<'_>, about: &str) -> PyResult<Self> {
        let about: Handlers = serde_json::from_str(about)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| foreign::Worker::start("python-worker", "python", about))
            .map(Self)
            .map_err(|error| PyRuntimeError::new_err(format!("{error:#}")))
    }

    /// Waits up to `seconds` for a step, as JSON; None when none came. Raises StopIteration when none will come any more.
    fn next(&self, py: Python<'_>, seconds: f64) -> PyResult<Option<String>> {
        let patience = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        match py.detach(|| self.0.next(patience)) {
            Next::Step(offer) => serde_json::to_string(&offer)
                .map(Some)
                .map_err(|error| PyRuntimeError::new_err(error.to_string())),
            Next::Nothing => Ok(None),
            Next::Ended => Err(PyStopIteration::new_err(())),
        }
    }

    /// Hands in the outcome of step `step_id`: `{"result": …}` or `{"error": "…", "retryable": …}`. False if it comes too late.
    fn complete(&self, py: Python<'_>, step_id: u64, answer: &str) -> bool {
        py.detach(|| self.0.complete(step_id, answer))
    }

    /// No new steps are claimed; those in flight may be finished.
    fn stop(&self) {
        self.0.stop();
    }

    /// Waits until the worker has ended; raises RuntimeError when something went wrong.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.wait())
            .map_err(|error| PyRuntimeError::new_err(format!("{error:#}")))
    }
}

/// Asks the worker that runs on this host whether it is ready.
#[pyfunction]
fn healthcheck(py: Python<'_>) -> bool {
    py.detach(foreign::healthcheck)
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Core>()?;
    module.add_function(wrap_pyfunction!(healthcheck, module)?)
}
