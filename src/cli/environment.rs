//! What the process was started with: environment variables, user, terminal.
//!
//! Read once, so that everything behind it is a function of values and can be tested. Only the command line reads
//! the environment; the library never does.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use kiln::diagnostic::{Blame, Diagnostic};

use super::text::Colours;

/// The environment variables and the user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: HashMap<OsString, OsString>,
    user: u32,
    etc: PathBuf,
}

impl Environment {
    /// Reads the process's own.
    pub(crate) fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            user: rustix::process::geteuid().as_raw(),
            etc: PathBuf::from("/etc"),
        }
    }

    /// One made of `pairs`, of an ordinary user on a machine without configuration.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let variables = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, user: 1000, etc: PathBuf::from("/nowhere/etc") }
    }

    /// The same on a machine that has its configuration in another place.
    #[cfg(test)]
    pub(crate) fn with_etc(self, etc: &Path) -> Self {
        Self { etc: etc.to_owned(), ..self }
    }

    /// Returns a variable's text, also an empty one.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        Some(self.variables.get(std::ffi::OsStr::new(name))?.to_string_lossy().into_owned())
    }

    /// Returns a variable's bytes, also none.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        Some(self.variables.get(std::ffi::OsStr::new(name))?.as_bytes().to_vec())
    }

    /// Returns a variable's text unless it is empty.
    pub(crate) fn set(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns a variable as a path unless it is empty.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(std::ffi::OsStr::new(name))?;
        (!value.is_empty()).then(|| PathBuf::from(value))
    }

    /// Returns where kiln keeps its state if nobody says otherwise; `None` if there is no home either.
    pub(crate) fn state_root(&self) -> Option<PathBuf> {
        if self.user == 0 {
            return Some(PathBuf::from("/var/lib/kiln"));
        }
        let data = self.path("XDG_DATA_HOME").filter(|path| path.is_absolute());
        let data = data.or_else(|| Some(self.path("HOME")?.join(".local/share")))?;
        Some(data.join("kiln"))
    }

    /// Returns the user's id.
    pub(crate) fn user(&self) -> u32 {
        self.user
    }

    /// Returns where the machine's configuration is.
    pub(crate) fn etc(&self) -> &Path {
        &self.etc
    }
}

/// The variable that says what time it is for what is made.
pub(super) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Reads what a flag says of the time of what is made, in seconds since 1970, or else what the variable says. What is
/// empty says nothing.
pub(super) fn epoch(
    given: Option<&str>,
    environment: &Environment,
) -> Result<Option<i64>, Diagnostic> {
    let given = given.map(str::to_owned).or_else(|| environment.set(EPOCH));
    let Some(word) = given.filter(|word| !word.is_empty()) else { return Ok(None) };
    let seconds = word.parse().ok();
    let seconds = seconds.filter(|seconds| jiff::Timestamp::from_second(*seconds).is_ok());
    seconds.map(Some).ok_or_else(|| {
        Diagnostic::new(Blame::Input, format!("invalid {EPOCH} `{word}`"))
            .hint(Some("give it as seconds since 1970-01-01".to_owned()))
    })
}

/// What standard error can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Whether somebody looks at it and lines can be redrawn.
    pub(crate) redraws: bool,
    /// Whether kiln's own text is coloured.
    pub(crate) colour: bool,
    /// Whether the colours of commands are kept.
    pub(crate) colours: Colours,
    /// Columns.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
}

/// Lines in files and pipes are cut only where nobody could want more.
const WIDTH_OF_A_FILE: usize = 160;

impl Terminal {
    /// Looks at standard error.
    pub(crate) fn of_stderr(environment: &Environment) -> Self {
        let stderr = std::io::stderr();
        let size = rustix::termios::tcgetwinsize(&stderr).ok();
        let size = size.filter(|_| stderr.is_terminal());
        Self::new(environment, size.map(|size| (size.ws_col.into(), size.ws_row.into())))
    }

    /// Decides from the environment and the size, `None` if there is no terminal.
    fn new(environment: &Environment, size: Option<(usize, usize)>) -> Self {
        let no_colour = environment.set("NO_COLOR").is_some();
        let dumb = environment.get("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let able = size.is_some() && !dumb;
        let (width, height) = match size {
            Some((0, _) | (_, 0)) => (80, 24),
            Some(size) => size,
            None => (WIDTH_OF_A_FILE, 24),
        };
        let colours = if no_colour { Colours::Strip } else { Colours::Keep };
        let colour = able && !no_colour;
        Self { redraws: able && !is_ci(environment), colour, colours, width, height }
    }

    /// One that shows plain text in `width` columns.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Self {
        Self { redraws: false, colour: false, colours: Colours::Strip, width, height: 24 }
    }
}

fn is_ci(environment: &Environment) -> bool {
    environment.set("CI").is_some_and(|value| value != "0" && value != "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_what_is_made() {
        let environment = |value: &str| Environment::of(&[(EPOCH, value)]);
        let read = |given: Option<&str>, value: &str| epoch(given, &environment(value)).ok();
        assert_eq!(read(None, "7"), Some(Some(7)));
        assert_eq!(read(Some("-8"), "7"), Some(Some(-8)));
        assert_eq!(read(None, ""), Some(None));
        assert_eq!(read(Some(""), "7"), Some(None));
        for wrong in ["x", "1.5", "99999999999999"] {
            assert_eq!(read(Some(wrong), ""), None, "{wrong}");
        }
    }

    #[test]
    fn state_roots() {
        let cases = [
            (vec![("HOME", "/h")], Some("/h/.local/share/kiln")),
            (vec![("HOME", "/h"), ("XDG_DATA_HOME", "/d")], Some("/d/kiln")),
            (vec![("HOME", "/h"), ("XDG_DATA_HOME", "relative")], Some("/h/.local/share/kiln")),
            (vec![], None),
        ];
        for (pairs, expected) in cases {
            assert_eq!(Environment::of(&pairs).state_root(), expected.map(PathBuf::from));
        }
        let root = Environment { user: 0, ..Environment::of(&[("HOME", "/root")]) };
        assert_eq!(root.state_root(), Some(PathBuf::from("/var/lib/kiln")));
    }

    #[test]
    fn terminals() {
        let look = |pairs: &[(&str, &str)], size| {
            let terminal = Terminal::new(&Environment::of(pairs), size);
            (terminal.redraws, terminal.colour, terminal.width)
        };
        assert_eq!(look(&[("TERM", "xterm")], Some((100, 30))), (true, true, 100));
        assert_eq!(look(&[("TERM", "xterm")], None), (false, false, 160));
        assert_eq!(look(&[("TERM", "dumb")], Some((100, 30))), (false, false, 100));
        assert_eq!(look(&[], Some((100, 30))), (false, false, 100));
        let ci = [("TERM", "xterm"), ("CI", "true")];
        assert_eq!(look(&ci, Some((100, 30))), (false, true, 100));
        let no_colour = [("TERM", "xterm"), ("NO_COLOR", "1")];
        assert_eq!(look(&no_colour, Some((0, 0))), (true, false, 80));
    }
}
