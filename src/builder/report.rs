//! Errors as diagnostics: whose fault, where, why, what to try.

use super::Inputs;
use crate::diagnostic::{Blame, Diagnostic};
use crate::export::ExportError;
use crate::fs::{PathError, remedy};
use crate::graph::{FilesSource, Op, Plan};
use crate::layer::LayerError;
use crate::sandbox;
use crate::snapshot::SnapshotError;
use crate::solve::{SolveError, StepError};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::verify::VerifyError;

pub(super) fn path(error: PathError) -> Vec<Diagnostic> {
    let hint = remedy(&error);
    let blame = if error.is_of_input() { Blame::Input } else { Blame::Machine };
    vec![Diagnostic::new(blame, error.to_string()).hint(hint).causes_of(&error)]
}

pub(super) fn store(error: StoreError) -> Vec<Diagnostic> {
    let hint = error.hint();
    vec![Diagnostic::new(Blame::Machine, error.to_string()).hint(hint).causes_of(&error)]
}

pub(super) fn verify(error: &VerifyError) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(error)]
}

pub(super) fn docker_config(error: &crate::registry::ConfigError) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint())]
}

pub(super) fn source(error: &SourceError) -> Vec<Diagnostic> {
    let diagnostic = Diagnostic::new(error.blame(), error.to_string());
    vec![diagnostic.hint(error.hint()).causes_of(error)]
}

pub(super) fn export(error: &ExportError) -> Vec<Diagnostic> {
    let message = format!("cannot write the image: {error}");
    vec![Diagnostic::new(error.blame(), message).hint(error.hint()).causes_of(error)]
}

/// A push that failed.
pub(super) fn push(error: &ExportError) -> Vec<Diagnostic> {
    let message = format!("cannot push the image: {error}");
    vec![Diagnostic::new(error.blame(), message).hint(error.hint()).causes_of(error)]
}

/// A step that failed, with the place of its instruction.
pub(super) fn solve(inputs: &Inputs, plan: &Plan, failure: SolveError) -> Vec<Diagnostic> {
    let SolveError { vertex, error } = failure;
    let vertex = plan.graph.get(vertex);
    let mut diagnostic = match &error {
        StepError::Command { .. } => Diagnostic::new(Blame::Step, error.to_string()),
        _ if is_too_deep(&error) => Diagnostic::new(Blame::Step, error.to_string()),
        StepError::Source(error) => {
            Diagnostic::new(error.blame(), error.to_string()).hint(error.hint())
        }
        StepError::Archive { source, .. } => {
            Diagnostic::new(source.blame(), error.to_string()).hint(source.hint())
        }
        StepError::Store(error) => {
            Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint())
        }
        StepError::Sandbox(error @ sandbox::Error::StillWritten) => {
            Diagnostic::new(Blame::Step, error.to_string()).hint(error.hint())
        }
        StepError::Sandbox(error) => {
            Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint())
        }
        StepError::Foreign(error) => {
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
        StepError::NotFound(path) if reads_context(plan, vertex) => {
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
    diagnostic.hint = diagnostic.hint.or_else(|| remedy(&error));
    diagnostic = diagnostic.causes_of(&error);
    diagnostic.place = vertex.span.map(|span| inputs.place(span));
    vec![diagnostic]
}

fn is_too_deep(error: &StepError) -> bool {
    matches!(error, StepError::Snapshot(SnapshotError::Layer(LayerError::Deep { .. })))
}

fn reads_context(plan: &Plan, vertex: &crate::graph::Vertex) -> bool {
    let is_main = |id| matches!(&plan.graph.get(id).op, Op::Files(FilesSource::Main));
    vertex.inputs().into_iter().any(is_main)
}
