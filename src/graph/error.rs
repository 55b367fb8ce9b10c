//! What can be wrong with a Dockerfile that parses.

use super::ImageRequest;
use crate::dockerfile::ast::Span;

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
