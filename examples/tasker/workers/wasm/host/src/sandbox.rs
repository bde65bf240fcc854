//! Where the module runs: a fresh instance for each step, with a measure of fuel and memory, and nothing of the world outside.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{json, Value};
use tasker_worker::{StepError, StepInput};
use wasmtime::{
    Caller, Config, Engine, Extern, Instance, InstancePre, Linker, Memory, Module, ResourceLimiter,
    Store, Trap,
};

/// An answer longer than this is none.
const LONGEST_ANSWER: usize = 4 << 20;
/// The rest of what a module says before it dies is dropped.
const LONGEST_WORDS: usize = 4 << 10;
const MOST_TABLE_ELEMENTS: usize = 10_000;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub fuel: u64,
    pub memory_bytes: usize,
}

pub struct Sandbox {
    module: InstancePre<Budget>,
    limits: Limits,
}

/// What one instance may use of memory, and what became of it.
struct Budget {
    memory_bytes: usize,
    refused: bool,
    last_words: Vec<u8>,
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> anyhow::Result<bool> {
        self.refused |= desired > self.memory_bytes;
        Ok(desired <= self.memory_bytes)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> anyhow::Result<bool> {
        Ok(desired <= MOST_TABLE_ELEMENTS)
    }
}

/// What the module's `handle` returns.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Done { result: Value },
    Refused { error: String, retryable: bool },
}

impl Sandbox {
    pub fn new(module: &[u8], limits: Limits) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, module)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("wasi_snapshot_preview1", "fd_write", listen)?;
        // The standard library of the module imports files, its environment and more. Using one of them ends the step.
        linker.define_unknown_imports_as_traps(&module)?;
        Ok(Self {
            module: linker.instantiate_pre(&module)?,
            limits,
        })
    }

    /// The names of the handlers the module has.
    pub fn handlers(&self) -> anyhow::Result<Vec<String>> {
        let mut run = self.run()?;
        let handlers = run
            .instance
            .get_typed_func::<(), u64>(&mut run.store, "handlers")?;
        let place = handlers.call(&mut run.store, ())?;
        Ok(serde_json::from_slice(run.read(place)?)?)
    }

    /// Does one step. A trap is final: the same step would end in it again.
    pub fn handle(&self, input: &StepInput) -> Result<Value, StepError> {
        let step = json!({
            "handler": input.step.handler,
            "attempt": input.attempt,
            "context": input.step.context,
            "dependency_results": input.step.dependency_results,
        });
        let outcome = self.run().and_then(|mut run| {
            let answer = Self::call(&mut run, step.to_string().as_bytes());
            answer.map_err(|error| anyhow::anyhow!(self.explain(&error, run.store.data())))
        });
        match outcome {
            Ok(Answer::Done { result }) => Ok(result),
            Ok(Answer::Refused { error, retryable }) => Err(StepError {
                message: error,
                retryable,
            }),
            Err(error) => Err(StepError::permanent(format!(
                "stopped by the sandbox: {error}"
            ))),
        }
    }

    fn explain(&self, error: &anyhow::Error, budget: &Budget) -> String {
        if matches!(error.downcast_ref(), Some(Trap::OutOfFuel)) {
            return format!("more than {} of fuel", self.limits.fuel);
        }
        if budget.refused {
            return format!("more than {} MiB of memory", self.limits.memory_bytes >> 20);
        }
        let words = String::from_utf8_lossy(&budget.last_words);
        format!("{} {}", error.root_cause(), words.trim())
            .trim()
            .to_owned()
    }

    fn call(run: &mut Run, step: &[u8]) -> anyhow::Result<Answer> {
        let (store, instance) = (&mut run.store, run.instance);
        let allocate = instance.get_typed_func::<u32, u32>(&mut *store, "allocate")?;
        let handle = instance.get_typed_func::<(u32, u32), u64>(&mut *store, "handle")?;
        let length = u32::try_from(step.len()).context("the step is too long")?;
        let start = allocate.call(&mut *store, length)?;
        run.memory.write(&mut *store, start as usize, step)?;
        let place = handle.call(&mut *store, (start, length))?;
        Ok(serde_json::from_slice(run.read(place)?)?)
    }

    fn run(&self) -> anyhow::Result<Run> {
        let budget = Budget {
            memory_bytes: self.limits.memory_bytes,
            refused: false,
            last_words: Vec::new(),
        };
        let mut store = Store::new(self.module.module().engine(), budget);
        store.limiter(|budget| budget);
        store.set_fuel(self.limits.fuel)?;
        let instance = self.module.instantiate(&mut store)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        let memory = instance
            .get_memory(&mut store, "memory")
            .context("the module exports no memory")?;
        Ok(Run {
            store,
            instance,
            memory,
        })
    }
}

/// WASI's `fd_write`: a module that panics says why before it dies. What it says is kept, and goes nowhere else.
fn listen(
    mut caller: Caller<'_, Budget>,
    _file: u32,
    pieces: u32,
    count: u32,
    written: u32,
) -> anyhow::Result<u32> {
    let memory = caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .context("the module exports no memory")?;
    let (data, budget) = memory.data_and_store_mut(&mut caller);
    let word = |data: &[u8], at: usize| {
        let bytes = data.get(at..at.saturating_add(4))?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    };
    let mut total = 0_u32;
    for i in 0..count as usize {
        let place = (pieces as usize).saturating_add(i.saturating_mul(8));
        let (Some(start), Some(length)) = (word(data, place), word(data, place + 4)) else {
            anyhow::bail!("a text outside the memory");
        };
        let (start, length) = (start as usize, length as usize);
        let text = data
            .get(start..start.saturating_add(length))
            .context("a text outside the memory")?;
        let room = LONGEST_WORDS.saturating_sub(budget.last_words.len());
        budget
            .last_words
            .extend_from_slice(&text[..length.min(room)]);
        total = total.wrapping_add(length as u32);
    }
    let end = (written as usize).saturating_add(4);
    data.get_mut(written as usize..end)
        .context("a place outside the memory")?
        .copy_from_slice(&total.to_le_bytes());
    Ok(0)
}

/// One instance at work.
struct Run {
    store: Store<Budget>,
    instance: Instance,
    memory: Memory,
}

impl Run {
    /// The text whose place and length are the halves of `place`.
    fn read(&self, place: u64) -> anyhow::Result<&[u8]> {
        let start = usize::try_from(place >> 32)?;
        let length = usize::try_from(place & 0xffff_ffff)?;
        anyhow::ensure!(length <= LONGEST_ANSWER, "the answer is too long");
        self.memory
            .data(&self.store)
            .get(start..start.saturating_add(length))
            .context("the answer lies outside the memory")
    }
}
