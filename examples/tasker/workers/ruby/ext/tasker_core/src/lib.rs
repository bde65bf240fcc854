//! The worker for Ruby, as C functions that Fiddle can call. Every text is UTF-8 and ends with a zero byte.
//!
//! Ruby's threads ask for steps (`tasker_next`) and hand in outcomes (`tasker_complete`). Rust never calls into Ruby: its threads do
//! not hold the interpreter's lock, and Fiddle gives that lock up while a function of this library runs.

use std::ffi::{c_char, c_int, CStr, CString};
use std::panic::catch_unwind;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use tasker_worker::foreign::{self, Handlers, Next, Worker};

static WORKER: OnceLock<Worker> = OnceLock::new();

const DONE: c_int = 0;
const FAILED: c_int = 1;

/// What goes wrong is told here: no Rust value and no panic crosses into Ruby.
fn guarded<T>(otherwise: T, call: impl FnOnce() -> T + std::panic::UnwindSafe) -> T {
    catch_unwind(call).unwrap_or(otherwise)
}

fn code(outcome: Result<(), String>) -> c_int {
    match outcome {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!("error: {error}");
            FAILED
        }
    }
}

/// # Safety
/// `text` is null or a C string that stays as it is until this returns.
unsafe fn text_of<'a>(text: *const c_char) -> Result<&'a str, String> {
    if text.is_null() {
        return Err("no text was given".to_owned());
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .map_err(|error| error.to_string())
}

fn start(about: &str) -> Result<(), String> {
    let about: Handlers = serde_json::from_str(about).map_err(|error| error.to_string())?;
    if WORKER.get().is_some() {
        return Err("the worker has been started before".to_owned());
    }
    let worker =
        Worker::start("ruby-worker", "ruby", about).map_err(|error| format!("{error:#}"))?;
    WORKER
        .set(worker)
        .map_err(|_| "the worker has been started before".to_owned())
}

/// Starts the worker; `about` is JSON: `{"namespaces": […], "handlers": […], "threads": n}`. Returns 0, or 1 after saying why not.
///
/// # Safety
/// `about` is a C string.
#[no_mangle]
pub unsafe extern "C" fn tasker_start(about: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    let about = unsafe { text_of(about) };
    guarded(FAILED, || code(about.and_then(start)))
}

/// Waits up to `milliseconds` for a step. Returns JSON for `tasker_free`: a step, `{"nothing": true}` or `{"ended": true}`;
/// null when it cannot.
#[no_mangle]
pub extern "C" fn tasker_next(milliseconds: u32) -> *mut c_char {
    guarded(std::ptr::null_mut(), || {
        let Some(worker) = WORKER.get() else {
            return std::ptr::null_mut();
        };
        let answer = match worker.next(Duration::from_millis(milliseconds.into())) {
            Next::Step(offer) => serde_json::to_string(&offer),
            Next::Nothing => Ok(json!({"nothing": true}).to_string()),
            Next::Ended => Ok(json!({"ended": true}).to_string()),
        };
        // JSON writes a zero byte as \u0000, so there is none inside.
        let text = answer.ok().and_then(|text| CString::new(text).ok());
        text.map_or(std::ptr::null_mut(), CString::into_raw)
    })
}

/// Gives back what `tasker_next` returned.
///
/// # Safety
/// `text` came from `tasker_next` and was not given back before.
#[no_mangle]
pub unsafe extern "C" fn tasker_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller's promise; `tasker_next` made it with `into_raw`.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Hands in the outcome of step `id`: `{"result": …}` or `{"error": "…", "retryable": …}`. Returns 1 if it comes too late.
///
/// # Safety
/// `answer` is a C string.
#[no_mangle]
pub unsafe extern "C" fn tasker_complete(id: u64, answer: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    let answer = unsafe { text_of(answer) };
    guarded(FAILED, || {
        let taken = match (WORKER.get(), answer) {
            (Some(worker), Ok(answer)) => worker.complete(id, answer),
            _ => false,
        };
        if taken {
            DONE
        } else {
            FAILED
        }
    })
}

/// No new steps are claimed; those in flight may be finished.
#[no_mangle]
pub extern "C" fn tasker_stop() {
    guarded((), || {
        if let Some(worker) = WORKER.get() {
            worker.stop();
        }
    });
}

/// Waits until the worker has ended. Returns 0, or 1 after saying what went wrong.
#[no_mangle]
pub extern "C" fn tasker_wait() -> c_int {
    guarded(FAILED, || {
        let outcome = WORKER.get().map_or(Ok(()), Worker::wait);
        code(outcome.map_err(|error| format!("{error:#}")))
    })
}

/// Asks the worker that runs on this host whether it is ready. Returns 0 or 1.
#[no_mangle]
pub extern "C" fn tasker_healthcheck() -> c_int {
    guarded(
        FAILED,
        || {
            if foreign::healthcheck() {
                DONE
            } else {
                FAILED
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_before_the_start() {
        assert!(tasker_next(1).is_null());
        tasker_stop();
        assert_eq!(tasker_wait(), DONE);
        // SAFETY: null is allowed, and the text is a C string.
        unsafe {
            tasker_free(std::ptr::null_mut());
            assert_eq!(tasker_complete(1, c"{}".as_ptr()), FAILED);
            assert_eq!(tasker_start(std::ptr::null()), FAILED);
            assert_eq!(tasker_start(c"{}".as_ptr()), FAILED);
        }
    }
}
