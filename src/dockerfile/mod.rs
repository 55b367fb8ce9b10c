//! Text to abstract syntax tree: the Dockerfile language. Imports nothing else of kiln.
//!
//! ```text
//! bytes --line--> logical lines --split--> keyword, flags, rest --instruction/*--> Command --file--> Dockerfile
//! ```
//!
//! Words stay as written in the tree. Whoever lowers it expands them with [`word`], and reads what only makes sense
//! once expanded with [`mount`], [`port`], [`signal`] and [`chmod`].
//!
//! Invariant: no input makes the parser panic, and every span lies inside the text. Bytes that are no UTF-8 are read
//! as U+FFFD.

pub mod ast;
pub mod chmod;
mod csv;
pub mod device;
mod directive;
pub mod duration;
pub mod error;
mod file;
mod flags;
mod glob;
pub mod heredoc;
mod instruction;
mod json;
mod line;
pub mod mount;
mod name;
pub mod port;
pub mod signal;
mod source;
mod split;
pub mod suggest;
pub mod word;
mod words;

pub use ast::Dockerfile;
pub use csv::csv_record;
pub use directive::{DirectiveError, in_comments};
pub use error::{ArgumentError, HeredocError, ParseError, ParseErrorKind};
pub use flags::FlagError;
pub use instruction::KEYWORDS;

impl Dockerfile {
    /// Reads a Dockerfile, or returns all that is wrong with it in order.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<ParseError>> {
        file::dockerfile(text)
    }
}

/// Reads the text of one ONBUILD trigger, which always has the default escape character.
pub fn parse_trigger(text: &str) -> Result<ast::Command, Vec<ParseError>> {
    file::trigger(text)
}

/// Reads a boolean as Go does.
///
/// ```text
/// boolean ::= "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False"
/// ```
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
