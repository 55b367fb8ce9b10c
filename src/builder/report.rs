//! Errors as diagnostics: whose fault, where, why, what to try.

use std::error::Error;

use super::Inputs;
use crate::diagnostic::{Blame, Diagnostic};
use crate::export::ExportError;
use crate::fs::{PathError, is_full};
use crate::graph::{FilesSource, Lowered, Op};
use crate::solve::{SolveError, StepError};
use crate::source::SourceError;
use crate::store::StoreError;

/// The remedy if the last cause is a full disk, whatever was being done: archives are written in many places.
fn full_disk(error: &(dyn Error + 'static)) -> Option<String> {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    let found = chain.any(|cause| cause.downcast_ref().is_some_and(is_full));
    found.then(|| "the disk is full: free some space".to_owned())
}

pub(super) fn path(error: PathError) -> Vec<Diagnostic> {
    let hint = full_disk(&error);
    let blame = if error.is_not_found() { Blame::Input } else { Blame::Machine };
    vec![Diagnostic::new(blame, error.to_string()).hint(hint).causes_of(&error)]
}

pub(super) fn store(error: StoreError) -> Vec<Diagnostic> {
    let hint = error.hint();
    vec![Diagnostic::new(Blame::Machine, error.to_string()).hint(hint).causes_of(&error)]
}

pub(super) fn docker_config(error: &crate::registry::ConfigError) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint())]
}

pub(super) fn source(error: &SourceError) -> Vec<Diagnostic> {
    let diagnostic = Diagnostic::new(blame_of(error), error.to_string());
    vec![diagnostic.hint(error.hint().or_else(|| full_disk(error))).causes_of(error)]
}

fn blame_of(error: &SourceError) -> Blame {
    match error {
        _ if full_disk(error).is_some() => Blame::Machine,
        SourceError::Ignore { .. }
        | SourceError::ImageNotFound { .. }
        | SourceError::Checksum { .. }
        | SourceError::Layer(_)
        | SourceError::Document(_)
        | SourceError::BadLayer { .. } => Blame::Input,
        SourceError::Registry(error) if error.is_refusal() => Blame::Input,
        SourceError::Path(error) if error.is_not_found() => Blame::Input,
        SourceError::Refused { status: 400..500, .. } => Blame::Input,
        SourceError::Path(_)
        | SourceError::Store(_)
        | SourceError::Snapshot(_)
        | SourceError::Registry(_)
        | SourceError::Download { .. }
        | SourceError::Refused { .. }
        | SourceError::Canceled => Blame::Machine,
    }
}

pub(super) fn export(error: &ExportError) -> Vec<Diagnostic> {
    let (blame, hint) = match error {
        ExportError::Format(_) => (Blame::Input, None),
        ExportError::Store(error) => (Blame::Machine, error.hint()),
        ExportError::Source(error) => (blame_of(error), error.hint()),
        ExportError::Path(_)
        | ExportError::Snapshot(_)
        | ExportError::Layer(_)
        | ExportError::Stdout(_)
        | ExportError::Canceled => (Blame::Machine, None),
    };
    let message = format!("cannot write the image: {error}");
    let hint = hint.or_else(|| full_disk(error));
    vec![Diagnostic::new(blame, message).hint(hint).causes_of(error)]
}

/// A step that failed, with the place of its instruction.
pub(super) fn solve(inputs: &Inputs, plan: &Lowered, failure: SolveError) -> Vec<Diagnostic> {
    let SolveError { vertex, error } = failure;
    let vertex = plan.graph.get(vertex);
    let in_context = reads_context(plan, vertex);
    let mut diagnostic = match &error {
        StepError::Command { .. } => Diagnostic::new(Blame::Step, error.to_string()),
        StepError::Source(error) => {
            Diagnostic::new(blame_of(error), error.to_string()).hint(error.hint())
        }
        StepError::Archive { source, .. } => {
            Diagnostic::new(blame_of(source), error.to_string()).hint(source.hint())
        }
        StepError::Store(error) => {
            Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint())
        }
        StepError::Sandbox(error) => {
            Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint())
        }
        StepError::User(error) => {
            Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint())
        }
        StepError::Snapshot(_) | StepError::Layer(_) | StepError::Canceled => {
            Diagnostic::new(Blame::Machine, error.to_string())
        }
        StepError::NotFound(_)
        | StepError::Name(_)
        | StepError::Pattern(_)
        | StepError::NotDirectory(_)
        | StepError::IsDirectory(_)
        | StepError::Missing { .. }
        | StepError::Secret { .. }
        | StepError::Unsupported(_) => Diagnostic::new(Blame::Input, error.to_string()),
    };
    match &error {
        StepError::Command { output, .. } => diagnostic.output = output.clone(),
        StepError::NotFound(path) if in_context => {
            diagnostic.message = format!("`{path}` is not in the build context");
            diagnostic.hint =
                Some("check the path, and whether an ignore file leaves it out".to_owned());
        }
        StepError::Missing { kind: "secret", id } => {
            diagnostic.hint = Some(format!(
                "give it with `--secret id={id},src=FILE` or `--secret id={id},env=NAME`"
            ));
        }
        StepError::Missing { id, .. } => {
            diagnostic.hint = Some(format!("give it with `--ssh {id}=SOCKET`"));
        }
        _ => {}
    }
    diagnostic.hint = diagnostic.hint.or_else(|| full_disk(&error));
    diagnostic = diagnostic.causes_of(&error);
    diagnostic.place = vertex.span.map(|span| inputs.place(span));
    vec![diagnostic]
}

fn reads_context(plan: &Lowered, vertex: &crate::graph::Vertex) -> bool {
    let is_main = |id| matches!(&plan.graph.get(id).op, Op::Files(FilesSource::Main));
    vertex.inputs().into_iter().any(is_main)
}
