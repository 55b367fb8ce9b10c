//! What can be wrong with a Dockerfile's text, and what to try.
//!
//! A [`ParseError`] always has a span inside the text: the flag, word or keyword at fault where that is known, else
//! the whole instruction. It deliberately does not draw anything: carets and colours belong to the report.

use std::fmt;

use super::ast::Span;
use super::device::DeviceError;
use super::directive::DirectiveError;
use super::duration::DurationError;
use super::flags::FlagError;
use super::mount::MountError;
use super::word::WordError;

/// One mistake in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: Box<ParseErrorKind>,
    /// The part of the text at fault, as tight as is known.
    pub span: Span,
    /// The whole instruction that it is part of.
    pub instruction: Span,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for ParseError {
    // The message is the kind's own, so the chain goes on below it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl ParseError {
    /// Makes an error about a part of an instruction.
    pub(super) fn new(kind: impl Into<ParseErrorKind>, span: Span, instruction: Span) -> Self {
        Self { kind: Box::new(kind.into()), span, instruction }
    }

    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        self.kind.hint()
    }
}

/// The kinds of mistakes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// A physical line passes the limit.
    #[error("line is longer than 65535 bytes")]
    LineTooLong,
    /// Nothing but comments and blank lines.
    #[error("the Dockerfile has no instructions")]
    Empty,
    /// An instruction other than ARG stands before the first FROM.
    #[error("`{0}` stands before the first `FROM`")]
    NoStage(String),
    /// The keyword is not one of the language.
    #[error("unknown instruction `{keyword}`")]
    UnknownInstruction {
        /// The keyword as written.
        keyword: String,
        /// The instruction that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A parser directive is wrong.
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    /// A here-document is wrong.
    #[error(transparent)]
    Heredoc(#[from] HeredocError),
    /// A flag is wrong.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// An argument is wrong.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The value of RUN --mount is wrong.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The value of RUN --device is wrong.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl ParseErrorKind {
    fn hint(&self) -> Option<String> {
        match self {
            Self::LineTooLong => Some("break the line with the escape character".into()),
            Self::Empty => Some("start with `FROM <image>`".into()),
            Self::NoStage(_) => Some("only `ARG` may stand before `FROM <image>`".into()),
            Self::UnknownInstruction { suggestion, .. } => {
                suggestion.map(|name| format!("did you mean `{name}`?"))
            }
            Self::Directive(error) => error.hint(),
            Self::Heredoc(error) => error.hint(),
            Self::Flag(error) => error.hint(),
            Self::Argument(error) => error.hint(),
            Self::Mount(error) => error.hint(),
            Self::Device(error) => error.hint(),
        }
    }
}

/// A here-document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeredocError {
    /// The line that closes it is missing.
    #[error("here-document `{0}` is not closed")]
    Unterminated(String),
    /// Its delimiter is not a word.
    #[error("the delimiter of the here-document is not a word")]
    Delimiter(#[source] WordError),
    /// It stands where COPY or ADD expects the destination.
    #[error("`{0}` cannot have a here-document as its destination")]
    Destination(&'static str),
}

impl HeredocError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unterminated(name) => {
                Some(format!("close it with a line that holds `{name}` and nothing else"))
            }
            Self::Delimiter(error) => error.hint(),
            Self::Destination(_) => Some("name a file or directory as the last argument".into()),
        }
    }
}

/// Arguments that an instruction does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Nothing follows the keyword.
    #[error("`{0}` needs at least one argument")]
    Missing(&'static str),
    /// COPY or ADD with a single path.
    #[error("`{0}` needs a source and a destination")]
    NoDestination(&'static str),
    /// A JSON array with something else than strings in it.
    #[error("the JSON array of `{0}` must hold strings only")]
    NotStrings(&'static str),
    /// An instruction that takes a JSON array only.
    #[error("`{0}` needs a JSON array of strings")]
    NotJson(&'static str),
    /// A name without a value.
    #[error("`{0}` needs a name and a value")]
    NoValue(&'static str),
    /// A word without `=` among pairs.
    #[error("`{0}` is not of the form `name=value`")]
    NotPair(String),
    /// A pair with nothing before `=`.
    #[error("`{0}` has an empty name")]
    EmptyName(&'static str),
    /// FROM with the wrong number of words.
    #[error("`FROM` takes an image, or an image, `AS` and a stage name")]
    From,
    /// A stage name with characters that are not allowed.
    #[error("`{0}` is not a stage name")]
    StageName(String),
    /// VOLUME with an empty path.
    #[error("`VOLUME` has an empty path")]
    EmptyVolume,
    /// A trigger that ONBUILD does not take.
    #[error("`{0}` is not allowed as an `ONBUILD` trigger")]
    Trigger(String),
    /// A trigger text with more than one instruction.
    #[error("an `ONBUILD` trigger must be one instruction")]
    TriggerCount,
    /// HEALTHCHECK with something else than CMD or NONE.
    #[error("`{0}` is not a kind of `HEALTHCHECK`")]
    HealthcheckKind(String),
    /// HEALTHCHECK NONE with arguments.
    #[error("`HEALTHCHECK NONE` takes no arguments")]
    HealthcheckNone,
    /// A duration that cannot be read, or is too short.
    #[error("`{value}` is not a duration for `--{flag}`")]
    Duration {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// Why.
        #[source]
        error: DurationError,
    },
    /// HEALTHCHECK --retries is not a number from 0 on.
    #[error("`{0}` is not a number of retries")]
    Retries(String),
}

impl ArgumentError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing(_) | Self::TriggerCount | Self::HealthcheckNone => return None,
            Self::NoDestination(_) => "add the destination as the last argument".into(),
            Self::NotStrings(_) => "put each member in double quotes".into(),
            Self::NotJson(name) => format!("write it as `{name} [\"program\", \"argument\"]`"),
            Self::NoValue(name) => format!("write it as `{name} name=value`"),
            Self::NotPair(word) => format!("quote values that hold spaces, or write `{word}=`"),
            Self::EmptyName(_) => "put a name before `=`".into(),
            Self::From => "write it as `FROM image AS name`".into(),
            Self::StageName(_) => {
                "a stage name starts with a letter and holds letters, digits, `-`, `_` and `.`"
                    .into()
            }
            Self::EmptyVolume => "name a directory of the image".into(),
            Self::Trigger(name) => format!("put `{name}` into the Dockerfile that uses the image"),
            Self::HealthcheckKind(_) => {
                "write `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`".into()
            }
            Self::Duration { error, .. } => return error.hint(),
            Self::Retries(_) => "give a whole number such as `3`".into(),
        })
    }
}
