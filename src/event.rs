//! What a build says while it runs: the only way the library speaks.
//!
//! One closed enum with many consumers (terminal, plain lines, JSON lines, tests). The library sends; it never
//! prints. Steps are numbered by the builder in the order in which they first become known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Numbers a step within one build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u32);

/// Which of a process's two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step was started; `name` is shown to people, e.g. `[build 2/5] RUN make`.
    Started {
        /// The step.
        step: StepId,
        /// What people see.
        name: String,
    },
    /// A step's result was found in the cache: nothing was run.
    Cached {
        /// The step.
        step: StepId,
        /// What people see.
        name: String,
    },
    /// A started step was done by the last build of this kind as well, and its result cannot be used again.
    Missed {
        /// The step.
        step: StepId,
        /// What changed since, as a clause: `the variable `A` changed`.
        why: String,
    },
    /// A running step wrote output; the bytes are as written, possibly part of a line.
    Output {
        /// The step.
        step: StepId,
        /// Which output.
        stream: Stream,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A step moved on: `current` of `total` (0: not known), in bytes.
    Progress {
        /// The step.
        step: StepId,
        /// What is being moved, e.g. a digest or `exporting layers`.
        what: String,
        /// Bytes done.
        current: u64,
        /// Bytes in all; 0 if not known.
        total: u64,
    },
    /// A step ended well.
    Done {
        /// The step.
        step: StepId,
        /// How long it took.
        took: Duration,
    },
    /// A step failed; the error itself is the build's result.
    Failed {
        /// The step.
        step: StepId,
        /// One line.
        message: String,
    },
    /// A running step was stopped because another failed or the user asked.
    Canceled {
        /// The step.
        step: StepId,
    },
    /// Something the user should know that does not stop the build.
    Warning {
        /// One line.
        message: String,
    },
}

/// Receives events; called from several threads.
pub trait Reporter: Sync + Send {
    /// Takes one event.
    fn report(&self, event: Event);
}

impl<F: Fn(Event) + Sync + Send> Reporter for F {
    fn report(&self, event: Event) {
        self(event);
    }
}

/// Tells a build to stop; cheap to clone, set once.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    set: Arc<AtomicBool>,
    parent: Option<Arc<AtomicBool>>,
}

impl Cancel {
    /// A token that nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is set when this one is, but not the other way round.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { set: Arc::default(), parent: Some(Arc::clone(&self.set)) }
    }

    /// Asks everything that holds a clone, or a child, to stop.
    pub fn cancel(&self) {
        self.set.store(true, Ordering::Release);
    }

    /// Returns whether stopping was asked for.
    pub fn is_canceled(&self) -> bool {
        let parent = self.parent.as_ref().is_some_and(|parent| parent.load(Ordering::Acquire));
        parent || self.set.load(Ordering::Acquire)
    }
}
