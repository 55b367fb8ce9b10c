//! Flags of `docker build` and `docker buildx build` that kiln takes without doing anything, and those that it must
//! refuse.
//!
//! One table. A flag is ignored only where docker itself ignores it or where it cannot change the result; one that kiln
//! cannot honour yet ends the build before it begins, unless its value asks for what kiln does anyway.

use clap::{Arg, ArgAction, ArgMatches, Command};
use kiln::diagnostic::{Blame, Diagnostic};

use super::values::boolean;

/// What was given of the flags in the table: name and value, in the table's order.
#[derive(Debug, Clone, Default)]
pub(super) struct Compat(Vec<(&'static Row, String)>);

#[derive(Debug)]
struct Row {
    name: &'static str,
    short: Option<char>,
    takes: Takes,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// `--flag value`
    Value,
    /// `--flag`, `--flag=value`
    Optional,
    /// `--flag`, `--flag=false`
    Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing to do.
    Ignored,
    /// docker says that it ignores it, and so does kiln.
    IgnoredAloud,
    /// Refused, unless the value is one of these.
    Refused { except: &'static [&'static str], hint: &'static str },
}

const OFF: &[&str] = &["false", "0", "f", "F", "False", "FALSE", "disabled=true"];

const fn ignored(name: &'static str, takes: Takes) -> Row {
    Row { name, short: None, takes, fate: Fate::Ignored }
}

const fn refused(
    name: &'static str,
    takes: Takes,
    except: &'static [&'static str],
    hint: &'static str,
) -> Row {
    Row { name, short: None, takes, fate: Fate::Refused { except, hint } }
}

const CACHE: &str =
    "the cache of the state root is always used; keep that directory between builds";

static TABLE: [Row; 16] = [
    ignored("rm", Takes::Switch),
    ignored("force-rm", Takes::Switch),
    ignored("compress", Takes::Switch),
    ignored("builder", Takes::Value),
    ignored("disable-content-trust", Takes::Switch),
    Row { name: "debug", short: Some('D'), takes: Takes::Switch, fate: Fate::Ignored },
    Row { name: "security-opt", short: None, takes: Takes::Value, fate: Fate::IgnoredAloud },
    refused("isolation", Takes::Value, &["", "default"], "drop the flag: kiln has one sandbox"),
    refused("annotation", Takes::Value, &[], "labels are supported: `--label NAME=VALUE`"),
    refused("attest", Takes::Value, &[], "drop the flag to build without attestations"),
    refused("provenance", Takes::Optional, OFF, "drop the flag to build without attestations"),
    refused("sbom", Takes::Optional, OFF, "drop the flag to build without attestations"),
    refused("cache-from", Takes::Value, &[], CACHE),
    refused("cache-to", Takes::Value, &[], CACHE),
    refused("print", Takes::Optional, &[], "`--check` lints without building"),
    refused("policy", Takes::Value, &[], ""),
];

impl Compat {
    /// Returns a warning for each flag that is ignored aloud.
    pub(super) fn warnings(&self) -> Vec<String> {
        let aloud = self.0.iter().filter(|(row, _)| row.fate == Fate::IgnoredAloud);
        aloud.map(|(row, _)| format!("`--{}` is ignored, as docker ignores it", row.name)).collect()
    }

    /// Returns a problem for each flag that kiln cannot honour.
    pub(super) fn problems(&self) -> Vec<Diagnostic> {
        self.0.iter().filter_map(|(row, value)| row.problem(value)).collect()
    }
}

impl Row {
    fn problem(&self, value: &str) -> Option<Diagnostic> {
        let Fate::Refused { except, hint } = self.fate else { return None };
        if except.contains(&value) || (self.name == "attest" && is_disabled(value)) {
            return None;
        }
        let shown = if except.is_empty() || self.takes == Takes::Switch || value.is_empty() {
            format!("--{}", self.name)
        } else {
            format!("--{}={value}", self.name)
        };
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        Some(Diagnostic::new(Blame::Input, format!("`{shown}` is not supported yet")).hint(hint))
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).hide(true).action(ArgAction::Append);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        match self.takes {
            Takes::Value => arg.allow_hyphen_values(true),
            Takes::Optional => arg.num_args(0..=1).require_equals(true).default_missing_value(""),
            Takes::Switch => {
                let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
                arg.value_parser(|text: &str| boolean(text).map(|on| on.to_string()))
            }
        }
    }
}

/// `type=sbom,disabled=true`
fn is_disabled(value: &str) -> bool {
    value.split(',').any(
        |field| matches!(field.split_once('='), Some(("disabled", on)) if boolean(on) == Ok(true)),
    )
}

impl clap::Args for Compat {
    fn augment_args(command: Command) -> Command {
        command.args(TABLE.iter().map(Row::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Compat {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = TABLE.iter().flat_map(|row| {
            let values: Vec<_> =
                matches.get_many::<String>(row.name).into_iter().flatten().collect();
            // Of a switch the last word counts, of everything else each.
            let skipped =
                if row.takes == Takes::Switch { values.len().saturating_sub(1) } else { 0 };
            values.into_iter().skip(skipped).map(move |value| (row, value.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The last paragraphs of the help.
pub(super) fn help() -> String {
    let names = |refused: bool| {
        let rows = TABLE.iter().filter(|row| matches!(row.fate, Fate::Refused { .. }) == refused);
        rows.map(|row| format!("--{}", row.name)).collect::<Vec<_>>().join(", ")
    };
    format!(
        "Flags of docker that are accepted and change nothing:\n  {}\n\n\
         Flags of docker that are not supported yet (an error, unless the value asks for what kiln does anyway):\n  {}\n\n\
         Exit codes: 0 built, 1 a step failed, 2 your input, 3 this machine or the network, 70 a bug in kiln, \
         130 interrupted.",
        names(false),
        names(true)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn of(words: &[&str]) -> Compat {
        let command = Compat::augment_args(Command::new("x").no_binary_name(true));
        Compat::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    }

    #[test]
    fn harmless_flags_are_silent() {
        let words = [
            "--rm",
            "--rm=false",
            "--force-rm",
            "--compress=true",
            "--builder",
            "x",
            "-D",
            "--provenance=false",
            "--sbom=0",
            "--attest",
            "type=sbom,disabled=true",
            "--isolation=default",
        ];
        let compat = of(&words);
        assert_eq!((compat.problems(), compat.warnings()), (vec![], vec![]));
    }

    #[test]
    fn what_docker_ignores_aloud() {
        let warnings = of(&["--security-opt", "seccomp=unconfined"]).warnings();
        assert_eq!(warnings, ["`--security-opt` is ignored, as docker ignores it"]);
    }

    #[test]
    fn the_rest_is_refused() {
        let cases = [
            (vec!["--policy=x"], "`--policy` is not supported yet"),
            (vec!["--provenance"], "`--provenance` is not supported yet"),
            (vec!["--provenance=mode=max"], "`--provenance=mode=max` is not supported yet"),
            (vec!["--sbom=true"], "`--sbom=true` is not supported yet"),
            (vec!["--attest=type=sbom"], "`--attest` is not supported yet"),
            (vec!["--cache-from", "type=gha"], "`--cache-from` is not supported yet"),
        ];
        for (words, expected) in cases {
            let problems = of(&words).problems();
            assert_eq!(problems[0].message, expected, "{words:?}");
            assert_eq!((problems.len(), problems[0].blame), (1, Blame::Input));
        }
    }
}
