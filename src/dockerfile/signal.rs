//! STOPSIGNAL: names and numbers of Linux' signals.

/// A word that is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a signal")]
pub struct SignalError(
    /// The word.
    pub String,
);

impl SignalError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        let upper = self.0.to_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let near = super::suggest::nearest(name, NAMES.iter().map(|(name, _)| *name));
        Some(match near {
            Some(name) => format!("did you mean `SIG{name}`?"),
            None => "use a name such as `SIGTERM` or a number".into(),
        })
    }
}

const NAMES: [(&str, i64); 36] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// `signal ::= [+-]? [0-9]+ | 'SIG'? signal_name`
///
/// Any number but zero is taken, as the reference takes it.
pub fn signal(text: &str) -> Result<i64, SignalError> {
    let error = || SignalError(text.to_owned());
    if let Ok(number) = text.parse::<i64>() {
        return if number == 0 { Err(error()) } else { Ok(number) };
    }
    let upper = text.to_uppercase();
    signal_name(upper.strip_prefix("SIG").unwrap_or(&upper)).ok_or_else(error)
}

/// Returns the number of a name in capitals without `SIG`.
///
/// ```text
/// signal_name ::= 'ABRT' | 'ALRM' | 'BUS' | 'CHLD' | 'CLD' | 'CONT' | 'FPE' | 'HUP' | 'ILL' | 'INT' | 'IO'
///               | 'IOT' | 'KILL' | 'PIPE' | 'POLL' | 'PROF' | 'PWR' | 'QUIT' | 'SEGV' | 'STKFLT' | 'STOP'
///               | 'SYS' | 'TERM' | 'TRAP' | 'TSTP' | 'TTIN' | 'TTOU' | 'URG' | 'USR1' | 'USR2' | 'VTALRM'
///               | 'WINCH' | 'XCPU' | 'XFSZ'
///               | 'RTMIN' ("+" ([1-9] | "1" [0-5]))? | 'RTMAX' ("-" ([1-9] | "1" [0-4]))?
/// ```
fn signal_name(name: &str) -> Option<i64> {
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let plain = |digits: &str| digits.parse::<i64>().ok().filter(|n| n.to_string() == digits);
    if let Some(digits) = name.strip_prefix("RTMIN+") {
        return plain(digits).filter(|n| (1..=15).contains(n)).map(|n| 34 + n);
    }
    let digits = name.strip_prefix("RTMAX-")?;
    plain(digits).filter(|n| (1..=14).contains(n)).map(|n| 64 - n)
}

#[cfg(test)]
mod tests {
    use super::signal;

    #[test]
    fn names_and_numbers() {
        let table = [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("sigRTMIN+3", Some(37)),
            ("RTMAX-14", Some(50)),
            ("9", Some(9)),
            ("0", None),
            ("SIGFOO", None),
            ("RTMIN+16", None),
            ("RTMIN+01", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(signal(text).ok(), expected, "{text}");
        }
    }
}
