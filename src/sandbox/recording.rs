//! A sandbox that runs nothing: it remembers what it was asked and answers as it was told.
//!
//! For tests of what lies above; it works without privileges and namespaces.

use std::sync::{Mutex, PoisonError};

use super::spec::Spec;
use super::{Ended, Error, Exit, Io, Remains, Sandbox};
use crate::event::{Cancel, Stream};

/// What a script may write to: the command's output.
pub type Output<'a> = dyn FnMut(Stream, &[u8]) + 'a;

type Script = dyn Fn(&Spec, &mut Output<'_>) -> Result<Exit, Error> + Send + Sync;

/// The test double of [`super::Namespaces`].
pub struct Recording {
    specs: Mutex<Vec<Spec>>,
    script: Box<Script>,
}

impl Recording {
    /// Answers each run with `script`, which plays the command: it may write to the spec's upper directory.
    pub fn new(
        script: impl Fn(&Spec, &mut Output<'_>) -> Result<Exit, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { specs: Mutex::default(), script: Box::new(script) }
    }

    /// Answers each run with success.
    pub fn succeeding() -> Self {
        Self::new(|_, _| Ok(Exit::Code(0)))
    }

    /// Returns what was asked so far, in order.
    pub fn specs(&self) -> Vec<Spec> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sandbox for Recording {
    fn run(&self, spec: &Spec, io: Io<'_>, cancel: &Cancel) -> Result<(Ended, Remains), Error> {
        if cancel.is_canceled() {
            return Err(Error::Canceled);
        }
        self.specs.lock().unwrap_or_else(PoisonError::into_inner).push(spec.clone());
        let exit = match io {
            Io::Inherit => (self.script)(spec, &mut |_, _| {}),
            Io::Piped(sink) => (self.script)(spec, sink),
        };
        exit.map(|exit| (Ended { exit, owned: Vec::new() }, Remains::default()))
    }
}
