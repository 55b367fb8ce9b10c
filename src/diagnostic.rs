//! What a person needs to know about something that went wrong: plain data that `cli/report.rs` draws.
//!
//! Module errors keep their own types; `builder` turns them into diagnostics, adding the place in the Dockerfile.

/// Whose fault it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// A step of the build failed (exit code 1).
    Step,
    /// What the user gave is wrong (exit code 2).
    Input,
    /// This machine or the network failed (exit code 3).
    Machine,
    /// kiln is wrong (exit code 70).
    Kiln,
}

/// A place in a text: byte offsets into `text`, drawn with line numbers and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name as the user gave it, or `<stdin>`.
    pub file: String,
    /// The whole text.
    pub text: String,
    /// First byte of the marked range.
    pub start: usize,
    /// One past the last byte of the marked range.
    pub end: usize,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whose fault it is.
    pub blame: Blame,
    /// What went wrong: lowercase, no period, names in backticks.
    pub message: String,
    /// Where in the user's text, if anywhere.
    pub place: Option<Place>,
    /// Why, from the nearest cause to the furthest.
    pub causes: Vec<String>,
    /// The last lines that a failed command wrote.
    pub output: Vec<String>,
    /// What to try.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A diagnostic with a message alone.
    pub fn new(blame: Blame, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { blame, message, place: None, causes: Vec::new(), output: Vec::new(), hint: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// The same with the chain of causes of `error`, which itself gave the message.
    #[must_use]
    pub fn causes_of(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = error.source();
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }
}

/// Returns an error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
