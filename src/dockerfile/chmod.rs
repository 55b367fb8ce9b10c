//! COPY --chmod and ADD --chmod: an octal mode, or changes such as `u=rwX,go=rX`.
//!
//! Symbolic changes are those of BSD's chmod with an empty umask, which differ from GNU's in corners: `=` leaves the
//! sticky bit, `X` looks at the mode before any change, and in `g=ru` the copy of `u` takes the place of `r`.

/// A text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode")]
pub struct ChmodError(
    /// The text.
    pub String,
);

impl ChmodError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        Some("write it in octal up to `7777`, or as changes such as `u=rwX,go=rX`".into())
    }
}

/// A mode to give to files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// These bits whatever the file had.
    Octal(u32),
    /// Changes to what the file has.
    Symbolic(Vec<Change>),
}

/// One step of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Sets bits.
    Set(u32),
    /// Clears bits.
    Clear(u32),
    /// Sets bits of directories and of files that anyone could execute at first.
    SetIfExecutable(u32),
    /// Copies the permissions of one class to others.
    Copy {
        /// How far right the class's bits stand from the lowest three.
        shift: u32,
        /// The bits of the classes that receive them.
        to: u32,
        /// `+`, `-` or `=`.
        operator: char,
    },
}

const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const STANDARD: u32 = 0o6777;
const ALL: u32 = 0o7777;

impl Chmod {
    /// Returns the mode of a file after the change; bits above the lowest twelve are kept.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let changes = match self {
            Self::Octal(bits) => return (mode & !ALL) | bits,
            Self::Symbolic(changes) => changes,
        };
        changes.iter().fold(mode, |now, change| match *change {
            Change::Set(bits) => now | bits,
            Change::Clear(bits) => now & !bits,
            Change::SetIfExecutable(bits) if is_dir || mode & 0o111 != 0 => now | bits,
            Change::SetIfExecutable(_) => now,
            Change::Copy { shift, to, operator } => {
                let bits = (((now >> shift) & 0o7) * 0o111) & to;
                match operator {
                    '+' => now | bits,
                    '-' => now & !bits,
                    _ => (now & !to) | bits,
                }
            }
        })
    }

    /// Returns the bits if the mode is octal; only then do created parent directories get them.
    pub fn octal(&self) -> Option<u32> {
        match self {
            Self::Octal(bits) => Some(*bits),
            Self::Symbolic(_) => None,
        }
    }
}

/// `chmod ::= "0"* [0-7] [0-7]? [0-7]? [0-7]? | chmod_clause ("," chmod_clause)*`
pub fn chmod(text: &str) -> Result<Chmod, ChmodError> {
    let error = || ChmodError(text.to_owned());
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return match u32::from_str_radix(text, 8) {
            Ok(bits) if bits <= ALL => Ok(Chmod::Octal(bits)),
            Ok(_) | Err(_) => Err(error()),
        };
    }
    let mut changes = Vec::new();
    for clause in text.split(',') {
        chmod_clause(clause, &mut changes).ok_or_else(error)?;
    }
    Ok(Chmod::Symbolic(changes))
}

/// `chmod_clause ::= [augo]* ([+=-] [rwxXstugo]*)+`
fn chmod_clause(clause: &str, changes: &mut Vec<Change>) -> Option<()> {
    let operators = clause.find(['+', '-', '='])?;
    let mut who = 0;
    for class in clause[..operators].chars() {
        who |= match class {
            'a' => STANDARD,
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o007,
            _ => return None,
        };
    }
    let mut rest = &clause[operators..];
    while let Some(operator) = rest.chars().next() {
        let after = &rest[1..];
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        Action { operator, who, bits: 0, conditional: 0, done: false }
            .read(&after[..end], changes)?;
        rest = &after[end..];
    }
    Some(())
}

/// An operator and the permissions after it.
struct Action {
    operator: char,
    who: u32,
    bits: u32,
    conditional: u32,
    /// Whether `=` has already cleared what it replaces.
    done: bool,
}

impl Action {
    fn read(mut self, permissions: &str, changes: &mut Vec<Change>) -> Option<()> {
        let others_only = self.who != 0 && self.who & !0o007 == 0;
        for permission in permissions.chars() {
            match permission {
                'r' => self.bits |= 0o444,
                'w' => self.bits |= 0o222,
                'x' => self.bits |= 0o111,
                'X' if self.operator == '-' => self.bits |= 0o111,
                'X' => self.conditional |= 0o111,
                's' if others_only => {}
                's' => self.bits |= SET_ID,
                't' if others_only => {}
                't' => {
                    self.who |= STICKY;
                    self.bits |= STICKY;
                }
                'u' => self.copy(6, changes),
                'g' => self.copy(3, changes),
                'o' => self.copy(0, changes),
                _ => return None,
            }
        }
        self.flush(self.operator == '=' && !self.done, changes);
        Some(())
    }

    fn copy(&mut self, shift: u32, changes: &mut Vec<Change>) {
        self.flush(false, changes);
        self.done |= self.operator == '=';
        let to = if self.who == 0 { 0o777 } else { self.classes() };
        changes.push(Change::Copy { shift, to, operator: self.operator });
    }

    fn classes(&self) -> u32 {
        [0o700, 0o070, 0o007].into_iter().filter(|class| self.who & class != 0).sum()
    }

    fn flush(&mut self, clear: bool, changes: &mut Vec<Change>) {
        let mask = if self.who == 0 { ALL } else { self.who };
        let bits = std::mem::take(&mut self.bits) & mask;
        let conditional = std::mem::take(&mut self.conditional) & mask;
        if self.operator == '=' && (clear || bits != 0) {
            changes.push(Change::Clear(if self.who == 0 { STANDARD } else { self.who }));
            self.done = true;
        }
        if bits != 0 {
            changes.push(if self.operator == '-' {
                Change::Clear(bits)
            } else {
                Change::Set(bits)
            });
        }
        if conditional != 0 {
            changes.push(Change::SetIfExecutable(conditional));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::chmod;

    #[test]
    fn modes() {
        let (file, dir) = (false, true);
        let table = [
            ("755", 0o644, file, Some(0o755)),
            ("07777", 0o644, file, Some(0o7777)),
            ("10000", 0, file, None),
            ("8", 0, file, None),
            ("u=rwX,go=rX", 0o600, dir, Some(0o755)),
            ("u=rwX,go=rX", 0o600, file, Some(0o644)),
            ("u=rwX,go=rX", 0o710, file, Some(0o755)),
            ("+x", 0o644, file, Some(0o755)),
            ("g=u", 0o640, file, Some(0o660)),
            ("go=", 0o777, file, Some(0o700)),
            ("u+s,o+t", 0o755, file, Some(0o4755)),
            ("+t", 0o755, dir, Some(0o1755)),
            ("=", 0o7777, file, Some(0o1000)),
            ("a-w", 0o666, file, Some(0o444)),
            ("u+x-w", 0o666, file, Some(0o566)),
            ("go=u-w", 0o640, file, Some(0o644)),
            ("", 0, file, None),
            ("u", 0, file, None),
            ("rwx", 0, file, None),
            ("u=rwx,", 0, file, None),
            ("+755", 0, file, None),
        ];
        for (text, mode, is_dir, expected) in table {
            let found = chmod(text).ok().map(|chmod| chmod.apply(mode, is_dir));
            assert_eq!(found, expected, "{text} on {mode:o}");
        }
    }

    #[test]
    fn kind_bits_are_kept() {
        assert_eq!(chmod("700").unwrap().apply(0o100_644, false), 0o100_700);
    }
}
