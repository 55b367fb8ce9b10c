//! Names and passwords: asked for without showing what is typed, and not shown where flags are.

use std::fmt;
use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;

use kiln::diagnostic::{Blame, Diagnostic};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// The longest that is read, in bytes.
const LIMIT: u64 = 64 << 10;

/// A flag's value that must not be seen anywhere.
#[derive(Clone)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Asks for a name; empty: the user only pressed return.
pub(super) fn name(question: &str) -> Result<String, Diagnostic> {
    let stdin = std::io::stdin();
    needs_terminal(&stdin)?;
    ask(question)?;
    let mut line = String::new();
    let read = stdin.lock().take(LIMIT).read_line(&mut line);
    match read.map_err(unreadable)? {
        0 => Err(nothing()),
        _ => Ok(line.trim().to_owned()),
    }
}

/// Asks for a password.
pub(super) fn password() -> Result<String, Diagnostic> {
    let stdin = std::io::stdin();
    needs_terminal(&stdin)?;
    let hidden = Hidden::new(&stdin).map_err(unreadable)?;
    ask("Password: ")?;
    let typed = typed(&mut stdin.lock());
    drop(hidden);
    super::say("\n");
    typed
}

/// Reads what stands on standard input up to its end; a line end after it does not count.
pub(super) fn from_stdin() -> Result<String, Diagnostic> {
    let mut text = String::new();
    std::io::stdin().lock().take(LIMIT).read_to_string(&mut text).map_err(unreadable)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(nothing()) } else { Ok(text.to_owned()) }
}

fn ask(question: &str) -> Result<(), Diagnostic> {
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).map_err(unreadable)
}

fn needs_terminal(stdin: impl AsFd) -> Result<(), Diagnostic> {
    if isatty(stdin) {
        return Ok(());
    }
    let hint = "give the name with `-u NAME` and the password with `--password-stdin`".to_owned();
    let message = "nobody can be asked for a name and a password: standard input is no terminal";
    Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)))
}

fn unreadable(error: impl Into<std::io::Error>) -> Diagnostic {
    Diagnostic::new(Blame::Machine, format!("cannot read standard input: {}", error.into()))
}

fn nothing() -> Diagnostic {
    Diagnostic::new(Blame::Input, "no name or no password was given")
}

/// Reads byte by byte to the end of the line; the terminal leaves everything to us.
fn typed(input: &mut impl Read) -> Result<String, Diagnostic> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const ERASE: [u8; 2] = [0x08, 0x7f];
    let mut text = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte).map_err(unreadable)? == 1 && text.len() < LIMIT as usize {
        match byte[0] {
            b'\r' | b'\n' | END => break,
            INTERRUPT => return Err(Diagnostic::new(Blame::Input, "interrupted")),
            it if ERASE.contains(&it) => drop(text.pop()),
            other => text.push(other),
        }
    }
    match String::from_utf8(text) {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) | Err(_) => Err(nothing()),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    stdin: &'a std::io::Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(stdin: &'a std::io::Stdin) -> rustix::io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut quiet = before.clone();
        // Without signals too: an interrupted kiln would leave a terminal behind that shows nothing.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(stdin, OptionalActions::Flush, &quiet)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // There is no one to tell, and nothing else to try.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_can_be_corrected() {
        let read = |bytes: &[u8]| typed(&mut &*bytes).map_err(|error| error.message);
        assert_eq!(read(b"pass:wordx\x7f\nrest"), Ok("pass:word".to_owned()));
        assert_eq!(read(b"\x7fab\x04"), Ok("ab".to_owned()));
        assert_eq!(read(b"ab\x03"), Err("interrupted".to_owned()));
        assert_eq!(read(b"\n"), Err("no name or no password was given".to_owned()));
    }
}
