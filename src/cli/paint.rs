//! Colour for kiln's own words, or none.
//!
//! Nothing can be learned from a colour that the text does not say as well.

use super::environment::Terminal;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warning,
    /// What to try.
    Hint,
    /// Lines and numbers around the user's text.
    Frame,
    /// What matters less.
    Dim,
    /// A step that is done.
    Done,
    /// A step that was found in the cache.
    Cached,
}

/// Paints or does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// As the terminal can show it.
    pub(crate) fn of(terminal: &Terminal) -> Self {
        Self(terminal.colour)
    }

    /// Returns `text` in the colour of its role.
    pub(crate) fn role(self, role: Role, text: &str) -> String {
        let code = match role {
            Role::Error => "1;31",
            Role::Warning => "33",
            Role::Hint => "36",
            Role::Frame | Role::Done => "34",
            Role::Dim => "2",
            Role::Cached => "32",
        };
        if self.0 && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
