//! What can be wrong with a Dockerfile that parses.

use std::error::Error;

use super::ImageRequest;
use crate::digest::DigestError;
use crate::dockerfile::ast::Span;
use crate::dockerfile::chmod::ChmodError;
use crate::dockerfile::mount::MountError;
use crate::dockerfile::port::PortError;
use crate::dockerfile::signal::SignalError;
use crate::dockerfile::word::WordError;
use crate::oci::{PlatformError, ReferenceError};

/// Why there is no graph.
#[derive(Debug)]
pub enum Failure {
    /// The configs of these images are needed first.
    Need(Vec<(ImageRequest, Option<Span>)>),
    /// The Dockerfile is wrong.
    Error(Box<GraphError>),
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Self::Error(Box::new(error))
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GraphError {
    /// What.
    pub message: String,
    /// Where.
    pub span: Option<Span>,
    /// What to try.
    pub hint: Option<String>,
}

impl GraphError {
    /// An error without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: None }
    }

    /// What another error says, with its causes, and what it says is to be tried.
    fn of(error: &dyn Error, hint: Option<String>) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let message =
            causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"));
        Self { message, span: None, hint }
    }

    /// The same at a place, unless it has one.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// The same with a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the nearest of `candidates` suggested, if one is near.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::dockerfile::suggest::nearest(word, candidates) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

impl From<ChmodError> for GraphError {
    fn from(error: ChmodError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<MountError> for GraphError {
    fn from(error: MountError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<PlatformError> for GraphError {
    fn from(error: PlatformError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<PortError> for GraphError {
    fn from(error: PortError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<ReferenceError> for GraphError {
    fn from(error: ReferenceError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<SignalError> for GraphError {
    fn from(error: SignalError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<WordError> for GraphError {
    fn from(error: WordError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<DigestError> for GraphError {
    fn from(error: DigestError) -> Self {
        Self::of(&error, None)
    }
}
