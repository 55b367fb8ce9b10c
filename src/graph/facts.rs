//! What lowering sees that is no error: the facts from which `lint` makes findings.
//!
//! Only lowering expands words and knows which stages are used, so it takes these facts down as it goes, up to the
//! error if there is one. Whether a fact deserves a word is not decided here.

use super::origin::{Origin, Origins};
use super::stage::{Stages, Step};
use super::state::State;
use super::{Request, args};
use crate::dockerfile::ast::{Dockerfile, Span};
use crate::dockerfile::suggest;
use crate::dockerfile::word::{Expander, Names, WordError};
use crate::oci::{Platform, Reference};

/// One fact, and where it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub seen: Seen,
    /// The instruction; for a trigger of a base, the FROM.
    pub span: Span,
    /// The comments above the instruction that are heeded for this fact, without their `#`.
    pub comments: Vec<String>,
}

/// What was seen. Words are expanded unless they are said to be as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A variable that neither ENV nor ARG defines.
    UndefinedVariable {
        /// Its name.
        name: String,
        /// The name of the variable that was perhaps meant.
        near: Option<String>,
    },
    /// A variable of FROM that no ARG before the first FROM declares.
    UndeclaredArgument {
        /// Its name.
        name: String,
        /// The name of the argument that was perhaps meant.
        near: Option<String>,
    },
    /// A base that is no image name if no build argument is given.
    InvalidDefaultBase {
        /// The base as written.
        written: String,
    },
    /// `FROM --platform` with a valid platform and no variable in it.
    ConstantPlatform {
        /// The value without its quotes.
        value: String,
        /// The platform.
        platform: Platform,
        /// The stage's name in lower case; empty if it has none.
        stage: String,
    },
    /// `FROM --platform` with nothing but the platform that is the default.
    TargetPlatform {
        /// The value as written.
        written: String,
    },
    /// A base image for another system or CPU than was asked for.
    BasePlatform {
        /// The image.
        image: String,
        /// What was asked for.
        expected: Platform,
        /// What it is for.
        actual: Platform,
    },
    /// A pair of ENV or LABEL without `=`.
    LegacyPair {
        /// The instruction's keyword as written.
        keyword: String,
    },
    /// A variable that ENV or ARG defines.
    Variable {
        /// `ENV` or `ARG`.
        keyword: &'static str,
        /// Its name.
        name: String,
    },
    /// The first WORKDIR of a stage and of those that it is based on, which is relative.
    RelativeWorkdir {
        /// The path.
        path: String,
    },
    /// CMD or ENTRYPOINT in shell form, where neither SHELL nor the base says which shell that is.
    ShellForm {
        /// The instruction's keyword as written.
        keyword: String,
    },
    /// A CMD, ENTRYPOINT or HEALTHCHECK that a later one of the same stage replaces.
    Replaced {
        /// The keyword of the later one as written.
        keyword: String,
    },
    /// A word of EXPOSE.
    Port {
        /// The word.
        word: String,
    },
    /// A path of the main context that COPY or ADD takes.
    ContextPath {
        /// `COPY` or `ADD`.
        keyword: &'static str,
        /// The path as it stands after expansion: neither cleaned nor absolute.
        path: String,
    },
}

/// Takes facts down, each with the place that is being looked at.
pub(super) struct Notes<'f> {
    facts: &'f mut Vec<Fact>,
    span: Span,
    comments: Vec<String>,
}

impl<'f> Notes<'f> {
    /// Starts anew: an earlier attempt at lowering has seen the same.
    pub(super) fn new(facts: &'f mut Vec<Fact>) -> Self {
        facts.clear();
        Self { facts, span: Span::default(), comments: Vec::new() }
    }

    /// What is added from here on is seen at this place.
    pub(super) fn go_to(&mut self, span: Span, comments: &[String]) {
        self.span = span;
        self.comments.clear();
        self.comments.extend_from_slice(comments);
    }

    pub(super) fn add(&mut self, seen: Seen) {
        self.add_at(seen, self.span);
    }

    fn add_at(&mut self, seen: Seen, span: Span) {
        self.facts.push(Fact { seen, span, comments: self.comments.clone() });
    }

    /// Expands a word in the state before an instruction, and notes the variables that are not defined there.
    pub(super) fn expand(
        &mut self,
        expander: &Expander,
        state: &State,
        word: &str,
    ) -> Result<String, WordError> {
        let lookup = |name: &str| state.env.get(name).map(str::to_owned);
        let mut names = Names::default();
        let result = expander.process_word(word, &lookup, &mut names);
        for name in names.unmatched {
            let declared = state.args.iter().any(|(key, _)| *key == name);
            if !declared && args::is_environment(&name) {
                let near = suggest::similar(&name, state.env.keys()).map(str::to_owned);
                self.add(Seen::UndefinedVariable { name, near });
            }
        }
        result
    }

    /// Notes the variables that an instruction defines.
    pub(super) fn variables<'n>(
        &mut self,
        keyword: &'static str,
        names: impl IntoIterator<Item = &'n String>,
    ) {
        for name in names {
            self.add(Seen::Variable { keyword, name: name.clone() });
        }
    }

    /// Notes that an instruction takes the place of an earlier one of its stage.
    pub(super) fn once(&mut self, last: &mut Option<Span>, step: &Step) {
        let (keyword, span) = (step.command.keyword.clone(), step.command.span);
        if let Some(earlier) = last.replace(span) {
            self.add_at(Seen::Replaced { keyword }, earlier);
        }
    }
}

/// Notes bases that are no image names if no build argument is given.
pub(super) fn default_bases(
    file: &Dockerfile,
    predefined: args::Env,
    expander: &Expander,
    notes: &mut Notes<'_>,
) {
    let none = std::collections::BTreeMap::new();
    // What is wrong here is an error of the build as well.
    let Ok(defaults) = args::with_globals(predefined, &file.global_args, &none, expander) else {
        return;
    };
    let lookup = |name: &str| defaults.get(name).map(str::to_owned);
    for stage in &file.stages {
        let Ok(name) = expander.expand(&stage.base, &lookup) else { return };
        if Reference::parse(&name).is_err() {
            notes.go_to(stage.span, &[]);
            notes.add(Seen::InvalidDefaultBase { written: stage.base.clone() });
        }
    }
}

/// Notes base images for another system or CPU; named contexts and images without layers may be for any.
pub(super) fn base_platforms(
    stages: &Stages,
    origins: &Origins,
    request: &Request,
    notes: &mut Notes<'_>,
) {
    for (id, origin) in origins {
        let (Origin::Image(image), stage) = (origin, stages.get(*id)) else { continue };
        let (wanted, base) = image.as_ref();
        let (expected, actual) = (&wanted.platform, base.config.platform());
        let same = (&expected.os, &expected.architecture) == (&actual.os, &actual.architecture);
        if same || base.config.is_empty() || stage.is_named_context(request) {
            continue;
        }
        notes.go_to(stage.span, &[]);
        let (image, expected) = (stage.base_name.clone(), expected.clone());
        notes.add(Seen::BasePlatform { image, expected, actual });
    }
}
