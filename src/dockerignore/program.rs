//! Patterns that need more than comparing bytes.
//!
//! The reference turns a pattern into a regular expression, and what it does not escape on the way keeps the meaning
//! it has there: `[^a]` matches a slash, `\d` a digit, `*` inside brackets is no longer a star. This module does the
//! same translation, reads back the small language of expressions that can come out of it, and runs them as sets of
//! states: time is proportional to pattern times path.

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Program {
    steps: Vec<Step>,
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Literal(char),
    Class(Class),
    /// Goes on with the next step and with that one.
    Split(usize),
    Jump(usize),
    /// The start of the path, or its end.
    Edge {
        start: bool,
    },
    /// A word boundary, or none.
    Boundary {
        wanted: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn of(negated: bool, ranges: &[(char, char)]) -> Self {
        Self { negated, ranges: ranges.to_vec() }
    }

    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// Translates a pattern to the expression that the reference makes of it.
fn expression(pattern: &str) -> String {
    let mut result = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                result.push_str(if chars.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => result.push_str("[^/]*"),
            '?' => result.push_str("[^/]"),
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => result.extend(['\\', c]),
            '\\' => result.extend(std::iter::once('\\').chain(chars.next())),
            c => result.push(c),
        }
    }
    result
}

impl Program {
    /// Compiles a pattern; `None` if its expression is malformed.
    pub(super) fn compile(pattern: &str) -> Option<Self> {
        let expression = expression(pattern.strip_prefix('\u{feff}').unwrap_or(pattern));
        let steps = Reader { rest: &expression, steps: Vec::new() }.read()?;
        let literal = |step: &Step| match step {
            Step::Literal(c) => Some(*c),
            Step::Class(_) | Step::Split(_) | Step::Jump(_) => None,
            Step::Edge { .. } | Step::Boundary { .. } => None,
        };
        let prefix: String = steps.iter().map_while(literal).collect();
        // A literal that can be jumped over is no part of what every match ends with.
        let target = |step: &Step| match step {
            Step::Split(to) | Step::Jump(to) => Some(*to),
            Step::Literal(_) | Step::Class(_) => None,
            Step::Edge { .. } | Step::Boundary { .. } => None,
        };
        let fixed = steps.iter().filter_map(target).max().unwrap_or(0);
        let suffix: Vec<char> = steps[fixed..].iter().rev().map_while(literal).collect();
        let suffix: String = suffix.into_iter().rev().collect();
        Some(Self { steps, prefix: prefix.into_bytes(), suffix: suffix.into_bytes() })
    }

    /// Says whether it matches a whole path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        path.starts_with(&self.prefix)
            && path.ends_with(&self.suffix)
            && self.run(path).is_some_and(|(mut states, last)| {
                self.close(&mut states, last, None);
                states.has(self.steps.len())
            })
    }

    /// Says whether some path that begins with this text could match.
    pub(super) fn may_go_on(&self, start: &[u8]) -> bool {
        let common = start.len().min(self.prefix.len());
        start[..common] == self.prefix[..common] && self.run(start).is_some()
    }

    /// Runs over a text; returns the states it leads to and its last character, or nothing if none is left.
    fn run(&self, text: &[u8]) -> Option<(States, Option<char>)> {
        let mut states = States::new(self.steps.len() + 1);
        let mut next_states = states.clone();
        states.add(0);
        let (mut rest, mut last) = (text, None);
        while !rest.is_empty() {
            let (c, length) = decode(rest);
            self.close(&mut states, last, Some(c));
            next_states.clear();
            for (at, step) in self.steps.iter().enumerate() {
                let taken = match step {
                    Step::Literal(literal) => *literal == c,
                    Step::Class(class) => class.has(c),
                    Step::Split(_) | Step::Jump(_) => false,
                    Step::Edge { .. } | Step::Boundary { .. } => false,
                };
                if taken && states.has(at) {
                    next_states.add(at + 1);
                }
            }
            std::mem::swap(&mut states, &mut next_states);
            if states.is_empty() {
                return None;
            }
            rest = &rest[length..];
            last = Some(c);
        }
        Some((states, last))
    }

    /// Adds every state that is reached without a character.
    fn close(&self, states: &mut States, last: Option<char>, next: Option<char>) {
        let word = |c: Option<char>| c.is_some_and(|c| c == '_' || c.is_ascii_alphanumeric());
        let mut pending: Vec<usize> = (0..self.steps.len()).filter(|at| states.has(*at)).collect();
        while let Some(at) = pending.pop() {
            let targets = match self.steps.get(at) {
                Some(Step::Split(to)) => [Some(at + 1), Some(*to)],
                Some(Step::Jump(to)) => [Some(*to), None],
                Some(Step::Edge { start }) => {
                    let here = if *start { last.is_none() } else { next.is_none() };
                    [here.then_some(at + 1), None]
                }
                Some(Step::Boundary { wanted }) => {
                    [((word(last) != word(next)) == *wanted).then_some(at + 1), None]
                }
                Some(Step::Literal(_) | Step::Class(_)) | None => [None, None],
            };
            for to in targets.into_iter().flatten() {
                if !states.has(to) {
                    states.add(to);
                    pending.push(to);
                }
            }
        }
    }
}

/// A set of states.
#[derive(Debug, Clone)]
struct States(Vec<u64>);

impl States {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        (self.0[at / 64] >> (at % 64)) & 1 == 1
    }

    fn add(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// Decodes the first character; a broken byte is U+FFFD.
fn decode(bytes: &[u8]) -> (char, usize) {
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or(('\u{fffd}', 1), |c| (c, c.len_utf8()))
}

/// Reads an expression.
struct Reader<'e> {
    rest: &'e str,
    steps: Vec<Step>,
}

impl Reader<'_> {
    fn read(mut self) -> Option<Vec<Step>> {
        const NEWLINE: [(char, char); 1] = [('\n', '\n')];
        while let Some(c) = self.next() {
            match c {
                '^' => self.steps.push(Step::Edge { start: true }),
                '.' => self.atom(Step::Class(Class::of(true, &NEWLINE))),
                '[' => {
                    let class = self.class()?;
                    self.atom(Step::Class(class));
                }
                '(' => {
                    // The one group there is: `(.*/)?`, any directories.
                    self.rest = self.rest.strip_prefix(".*/)?")?;
                    let at = self.steps.len();
                    self.steps.push(Step::Split(at + 5));
                    self.star(Step::Class(Class::of(true, &NEWLINE)));
                    self.steps.push(Step::Literal('/'));
                }
                '\\' => self.escape()?,
                c => self.atom(Step::Literal(c)),
            }
        }
        Some(self.steps)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Adds a step, repeated if a star follows it.
    fn atom(&mut self, step: Step) {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            self.star(step);
        } else {
            self.steps.push(step);
        }
    }

    fn star(&mut self, step: Step) {
        let at = self.steps.len();
        self.steps.extend([Step::Split(at + 3), step, Step::Jump(at)]);
    }

    fn escape(&mut self) -> Option<()> {
        let c = self.rest.chars().next()?;
        let step = match c {
            'A' => Step::Edge { start: true },
            'z' => Step::Edge { start: false },
            'b' | 'B' => Step::Boundary { wanted: c == 'b' },
            'Q' => {
                let (literal, rest) =
                    self.rest[1..].split_once("\\E").unwrap_or((&self.rest[1..], ""));
                self.steps.extend(literal.chars().map(Step::Literal));
                self.rest = rest;
                return Some(());
            }
            _ => match perl_class(c) {
                Some(class) => {
                    self.next();
                    self.atom(Step::Class(class));
                    return Some(());
                }
                None => {
                    let literal = self.escaped_char()?;
                    self.atom(Step::Literal(literal));
                    return Some(());
                }
            },
        };
        self.next();
        self.steps.push(step);
        Some(())
    }

    /// Reads what stands for one character after a backslash.
    fn escaped_char(&mut self) -> Option<char> {
        let c = self.next()?;
        match c {
            'a' => Some('\x07'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            'x' => self.number(16, 2).filter(|(_, digits)| *digits == 2).map(|(c, _)| c),
            '0'..='7' => {
                let first = c.to_digit(8)?;
                let more = self.rest.starts_with(|c: char| c.is_digit(8));
                if c != '0' && !more {
                    return None;
                }
                let (rest, digits) = self.number(8, 2)?;
                char::from_u32(first * 8_u32.pow(digits) + u32::from(rest))
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        }
    }

    fn number(&mut self, radix: u32, most: usize) -> Option<(char, u32)> {
        let (mut value, mut digits) = (0, 0);
        while digits < most as u32
            && let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(radix))
        {
            value = value * radix + digit;
            digits += 1;
            self.next();
        }
        Some((char::from_u32(value)?, digits))
    }

    /// Reads a class whose `[` was read.
    fn class(&mut self) -> Option<Class> {
        let negated = self.rest.starts_with('^');
        if negated {
            self.next();
        }
        let mut class = Class { negated, ranges: Vec::new() };
        let mut first = true;
        loop {
            match self.rest.chars().next()? {
                ']' if !first => {
                    self.next();
                    return Some(class);
                }
                // Named classes would take a table; nobody ignores files by them.
                '[' if self.rest.starts_with("[:") && self.rest.contains(":]") => return None,
                '\\' => {
                    if let Some(known) = self.rest[1..].chars().next().and_then(perl_class) {
                        // A negated class inside a class does not come out of any sensible pattern.
                        if known.negated {
                            return None;
                        }
                        class.ranges.extend(known.ranges);
                        self.rest = &self.rest[2..];
                        first = false;
                        continue;
                    }
                }
                _ => {}
            }
            first = false;
            let low = self.class_char()?;
            let mut high = low;
            if let Some(rest) = self.rest.strip_prefix('-')
                && !rest.starts_with(']')
                && !rest.is_empty()
            {
                self.rest = rest;
                high = self.class_char()?;
            }
            if high < low {
                return None;
            }
            class.ranges.push((low, high));
        }
    }

    fn class_char(&mut self) -> Option<char> {
        match self.next()? {
            '\\' => self.escaped_char(),
            c => Some(c),
        }
    }
}

/// `\d`, `\s`, `\w` and their opposites.
fn perl_class(c: char) -> Option<Class> {
    let ranges: &[(char, char)] = match c.to_ascii_lowercase() {
        'd' => &[('0', '9')],
        's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some(Class::of(c.is_ascii_uppercase(), ranges))
}

#[cfg(test)]
mod tests {
    use super::Program;

    #[test]
    fn patterns() {
        let table = [
            ("a*b*c", "axbxc", true),
            ("a*b*c", "ax/bc", false),
            ("**/a/**", "x/y/a/b", true),
            ("**/a/**", "a/b", true),
            ("**/a/**", "xa/b", false),
            ("[^a]b", "/b", true),
            ("[a-c]?", "bz", true),
            ("[a*]", "a]", true),
            ("[a*]", "aaa", false),
            ("\\d", "5", true),
            ("\\d", "d", false),
            ("\\*x", "*x", true),
            ("x^*", "x^", false),
        ];
        for (pattern, path, expected) in table {
            let program = Program::compile(pattern).unwrap();
            assert_eq!(program.matches(path.as_bytes()), expected, "{pattern} on {path}");
        }
    }
}
