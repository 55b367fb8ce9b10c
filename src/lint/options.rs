//! Which rules count: `# check=`, the build argument that replaces it, and the comments above an instruction.
//!
//! ```text
//! options ::= option (";" option){0,2}
//! option  ::= "skip=" rules | "experimental=" rules | "error=" boolean
//! rules   ::= "all" | name ("," name)*
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::Rule;
use crate::dockerfile::ast::{Dockerfile, Span};
use crate::dockerfile::{boolean, in_comments};

/// The build argument that takes the place of `# check=`.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Options that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{option}` is no check option")]
pub struct OptionError {
    /// The part that is wrong, as written.
    pub option: String,
    /// Where in the Dockerfile; nowhere if the build argument was read.
    pub span: Option<Span>,
}

impl OptionError {
    /// Returns what to try.
    pub fn hint(&self) -> String {
        "the options are `skip=`, `error=` and `experimental=`, separated by `;`".to_owned()
    }
}

/// All rules, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rules {
    All,
    /// Names, whether or not there are such rules.
    Some(BTreeSet<String>),
}

impl Default for Rules {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Rules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Some(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn contain(&self, rule: Rule) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(rule.name()),
        }
    }
}

/// Which rules count, and whether a finding is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    skip: Rules,
    experimental: Rules,
    /// Whether findings make the build fail.
    pub error: bool,
}

impl Options {
    /// Reads the options of a build: those of the build argument, or else those of the Dockerfile.
    pub fn of(
        file: &Dockerfile,
        build_args: &BTreeMap<String, String>,
    ) -> Result<Self, OptionError> {
        if let Some(text) = build_args.get(ARGUMENT) {
            return Self::parse(text).map_err(|option| OptionError { option, span: None });
        }
        let Some(directive) = &file.check else { return Ok(Self::default()) };
        Self::parse(first_word(&directive.value))
            .map_err(|option| OptionError { option, span: Some(directive.span) })
    }

    /// The error is the part that cannot be read.
    fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let text = text.trim();
        for part in text.splitn(3, ';').filter(|_| !text.is_empty()) {
            let bad = || part.to_owned();
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            match key.trim() {
                "skip" => options.skip = Rules::parse(value),
                "experimental" => options.experimental = Rules::parse(value),
                "error" => options.error = boolean(value.trim()).ok_or_else(bad)?,
                _ => return Err(bad()),
            }
        }
        Ok(options)
    }

    /// Whether a rule counts for an instruction with these comments above it.
    pub(super) fn allow(&self, rule: Rule, comments: &[String]) -> bool {
        let here =
            in_comments(comments, "check").and_then(|text| Self::parse(first_word(&text)).ok());
        let mut scopes = [Some(self), here.as_ref()].into_iter().flatten();
        match rule.is_experimental() {
            true => scopes.any(|options| options.experimental.contain(rule)),
            false => !scopes.any(|options| options.skip.contain(rule)),
        }
    }
}

/// What follows the first blank of a directive is a remark.
fn first_word(value: &str) -> &str {
    value.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options::parse(text).unwrap_or_else(|part| panic!("{part}"))
    }

    #[test]
    fn forms() {
        let some = options(" skip = StageNameCasing, UndefinedVar ;error=T;experimental=all ");
        assert!(some.error);
        assert!(!some.allow(Rule::StageNameCasing, &[]) && !some.allow(Rule::UndefinedVar, &[]));
        assert!(some.allow(Rule::FromAsCasing, &[]));
        assert!(some.allow(Rule::InvalidDefinitionDescription, &[]));
        assert_eq!(options(" "), Options::default());
        let all = options("skip=all;experimental=InvalidDefinitionDescription");
        assert!(Rule::ALL.into_iter().all(|rule| all.allow(rule, &[]) == rule.is_experimental()));
    }

    #[test]
    fn what_cannot_be_read() {
        let table = [("wat", "wat"), ("skip=A;", ""), ("error=yes", "error=yes"), ("a=b", "a=b")];
        for (text, part) in table {
            assert_eq!(Options::parse(text), Err(part.to_owned()), "{text}");
        }
        assert!(Options::parse("error=1;skip=A;experimental=B;wat").is_ok(), "three parts");
    }

    #[test]
    fn the_build_argument_takes_the_place_of_the_directive() {
        let file = Dockerfile::parse(b"# check=error=true;skip=all really\nFROM a\n").unwrap();
        assert!(Options::of(&file, &BTreeMap::new()).unwrap().error);
        let given = |text: &str| BTreeMap::from([(ARGUMENT.to_owned(), text.to_owned())]);
        assert_eq!(Options::of(&file, &given("")), Ok(Options::default()));
        let bad = Options::of(&file, &given("skip")).unwrap_err();
        assert_eq!((bad.to_string().as_str(), bad.span), ("`skip` is no check option", None));
    }

    #[test]
    fn comments_add_to_the_options() {
        let options = options("skip=UndefinedVar");
        let above = |text: &str| vec!["why".to_owned(), text.to_owned()];
        let skip = above("check=skip=StageNameCasing // on purpose");
        assert!(!options.allow(Rule::StageNameCasing, &skip));
        assert!(!options.allow(Rule::UndefinedVar, &skip));
        assert!(options.allow(Rule::StageNameCasing, &above("check=skip")));
        assert!(
            options.allow(Rule::InvalidDefinitionDescription, &above("check=experimental=all"))
        );
    }
}
