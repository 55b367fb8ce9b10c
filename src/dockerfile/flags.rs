//! The flags of an instruction against those that it takes.

use std::ops::Range;

use super::error::ParseError;
use super::instruction::Request;
use super::split::Flag;
use super::suggest;

/// A flag that an instruction does not take, or not like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The instruction has no such flag.
    #[error("`{instruction}` has no flag `--{name}`")]
    Unknown {
        /// The instruction.
        instruction: String,
        /// The flag without dashes.
        name: String,
        /// The one that was probably meant.
        suggestion: Option<&'static str>,
        /// All that there are.
        known: Vec<&'static str>,
    },
    /// A flag that counts once is given twice.
    #[error("flag `--{0}` is given twice")]
    Duplicate(String),
    /// A flag without a value.
    #[error("flag `--{0}` needs a value")]
    NoValue(String),
    /// A switch with something else than true or false.
    #[error("`{value}` is neither `true` nor `false` for `--{name}`")]
    NotBool {
        /// The flag.
        name: String,
        /// Its value.
        value: String,
    },
    /// A flag whose value is one of a few words.
    #[error("`{value}` is not a value of `--{name}`")]
    NotOneOf {
        /// The flag.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        known: &'static [&'static str],
    },
}

impl FlagError {
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { suggestion: Some(name), .. } => format!("did you mean `--{name}`?"),
            Self::Unknown { known, .. } if known.is_empty() => {
                "this instruction takes no flags".into()
            }
            Self::Unknown { known, .. } => format!("its flags are `--{}`", known.join("`, `--")),
            Self::Duplicate(_) => "remove one of the two".into(),
            Self::NoValue(name) => format!("write `--{name}=value`"),
            Self::NotBool { name, .. } => format!("write `--{name}` or `--{name}=false`"),
            Self::NotOneOf { known, .. } => format!("use one of `{}`", known.join("`, `")),
        })
    }
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `=true` or `=false`.
    Switch,
    /// One value.
    Text,
    /// One value each time it is given.
    List,
}

/// A flag that an instruction takes.
pub(super) type Known = (&'static str, Takes);

/// The flags that were given, each checked.
#[derive(Debug, Default)]
pub(super) struct Options {
    given: Vec<(&'static str, String, Range<usize>)>,
}

impl Options {
    /// Checks all flags of an instruction against those that it takes.
    pub(super) fn parse(request: &Request<'_>, known: &[Known]) -> Result<Self, ParseError> {
        let mut options = Self::default();
        for flag in request.flags {
            let (name, value) = options
                .flag_value(request.keyword, flag, known)
                .map_err(|error| request.line.error(flag.range.clone(), error))?;
            options.given.push((name, value, flag.range.clone()));
        }
        Ok(options)
    }

    /// Returns the name and the value of a flag that is one of the known.
    ///
    /// `flag_value ::= [^#xA]*`
    fn flag_value(
        &self,
        instruction: &str,
        flag: &Flag,
        known: &[Known],
    ) -> Result<(&'static str, String), FlagError> {
        let text = &flag.text[2..];
        let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
        let Some((key, takes)) = known.iter().find(|(key, _)| *key == name).copied() else {
            let known: Vec<_> = known.iter().map(|(key, _)| *key).collect();
            return Err(FlagError::Unknown {
                instruction: instruction.to_uppercase(),
                name: name.to_owned(),
                suggestion: suggest::nearest(name, known.iter().copied()),
                known,
            });
        };
        if takes != Takes::List && self.find(key).is_some() {
            return Err(FlagError::Duplicate(name.to_owned()));
        }
        match (takes, value) {
            (Takes::Switch, None) => Ok((key, "true".into())),
            (Takes::Switch, Some("")) | (Takes::Text | Takes::List, None) => {
                Err(FlagError::NoValue(name.to_owned()))
            }
            (Takes::Switch, Some(value)) => match value.to_lowercase() {
                text if text == "true" || text == "false" => Ok((key, text)),
                _ => Err(FlagError::NotBool { name: name.to_owned(), value: value.to_owned() }),
            },
            (Takes::Text | Takes::List, Some(value)) => Ok((key, value.to_owned())),
        }
    }

    fn find(&self, name: &str) -> Option<&(&'static str, String, Range<usize>)> {
        self.given.iter().find(|(key, ..)| *key == name)
    }

    /// Returns the value of a flag and where the flag stands.
    pub(super) fn given(&self, name: &str) -> Option<(&str, Range<usize>)> {
        self.find(name).map(|(_, value, range)| (value.as_str(), range.clone()))
    }

    /// Returns the value of a flag, empty if it is absent.
    pub(super) fn text(&self, name: &str) -> String {
        self.find(name).map(|(_, value, _)| value.clone()).unwrap_or_default()
    }

    /// Returns the state of a switch, if given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.find(name).map(|(_, value, _)| value == "true")
    }

    /// Returns all values of a flag with their places.
    pub(super) fn list(&self, name: &str) -> Vec<(String, Range<usize>)> {
        let of_name = self.given.iter().filter(|(key, ..)| *key == name);
        of_name.map(|(_, value, range)| (value.clone(), range.clone())).collect()
    }

    /// Returns the names that were given, sorted, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.given.iter().map(|(key, ..)| (*key).to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}
