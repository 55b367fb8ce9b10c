//! Derives sentences from a grammar, at random but repeatably.
//!
//! A derivation that breaks a constraint is taken back and tried again. What is spelled differently from how it is
//! derived (instructions over several lines, flags and fields in quotes) is respelled by `spell.rs` on the way; each
//! spelling is a sentence of the grammar's own production for it.

use super::constraint::{Part, holds};
use super::ebnf::{Expr, Grammar};
use super::recognise::{matches, matches_expr};
use super::rng::Rng;
use super::spell;

/// Beyond this depth the shortest derivations are taken.
const DEEPEST: usize = 24;

/// How often a production is tried before what it is part of is tried again.
const ATTEMPTS: usize = 40;

/// What negated classes are taken from: letters mostly, and everything that means something somewhere.
const PALETTE: &str = "aaaabbcdefnrstuvxyzABZ00129 \t-_./:=,;#\"'\\`$<>{}[]()*?!|&%@+~^\r\u{1}\u{7f}éàß日😀\u{a0}\u{3000}";

/// A here-document whose body is still to come.
#[derive(Debug, Clone)]
struct Marker {
    name: String,
    chomp: bool,
    quotes: usize,
}

/// What a derivation depends on besides the grammar.
#[derive(Debug, Clone)]
struct State {
    escape: char,
    /// Inside a parser directive, which may change the escape character.
    directive: bool,
    /// Inside an instruction.
    line: bool,
    /// Flags of this instruction, or directives, that were given.
    given: Vec<String>,
    markers: Vec<Marker>,
}

/// A sentence with what is needed to judge it.
#[derive(Debug, Clone)]
pub(crate) struct Sentence {
    pub(crate) text: String,
    /// The escape character in force at its end.
    pub(crate) escape: char,
}

pub(crate) struct Generator<'g> {
    grammar: &'g Grammar,
    rng: Rng,
    out: String,
    depth: usize,
    state: State,
    /// How long the next repetition has to be, where chance would not find it.
    digits: Option<usize>,
    /// How deep the derivation of each production is at least.
    heights: Vec<usize>,
    /// How often each production was derived.
    pub(crate) counts: Vec<usize>,
}

impl<'g> Generator<'g> {
    pub(crate) fn new(grammar: &'g Grammar, seed: u64) -> Self {
        let count = grammar.productions.len();
        let mut heights = vec![usize::MAX / 2; count];
        for _ in 0..count {
            for (number, production) in grammar.productions.iter().enumerate() {
                heights[number] = 1 + height(&production.expr, &heights);
            }
        }
        let state = State {
            escape: '\\',
            directive: false,
            line: false,
            given: Vec::new(),
            markers: Vec::new(),
        };
        let (rng, out) = (Rng::new(seed), String::new());
        Self { grammar, rng, out, depth: 0, state, digits: None, heights, counts: vec![0; count] }
    }

    /// Derives a sentence from a root with a fixed escape character, where no directive changes it.
    pub(crate) fn sentence(&mut self, root: &str, escape: char) -> Sentence {
        let number = self.grammar.number(root);
        loop {
            self.out.clear();
            self.depth = 0;
            let given = Vec::new();
            self.state =
                State { escape, directive: false, line: false, given, markers: Vec::new() };
            if self.production(number) && self.bodies(root) && self.is_read_back(root) {
                return Sentence { text: self.out.clone(), escape: self.state.escape };
            }
        }
    }

    /// What is not respelled is what a reader of the grammar finds, save that a lone dollar's surroundings are not
    /// known while it is derived.
    fn is_read_back(&self, root: &str) -> bool {
        let respelled = ["dockerfile", "trigger", "mount", "device"].contains(&root);
        let read = respelled || matches(self.grammar, root, &self.out, self.state.escape);
        assert!(read || root == "word", "no {root}: {:?}", self.out);
        read
    }

    /// A trigger that stands alone is followed by its here-documents' bodies.
    fn bodies(&mut self, root: &str) -> bool {
        if root != "trigger" {
            return true;
        }
        self.out.push('\n');
        let body = self.grammar.number("heredoc_body");
        (0..self.state.markers.len()).all(|_| self.production(body))
    }

    fn production(&mut self, number: usize) -> bool {
        let (length, state) = (self.out.len(), self.state.clone());
        self.depth += 1;
        let mut derived = false;
        for _ in 0..ATTEMPTS {
            derived = self.attempt(number);
            if derived {
                self.counts[number] += 1;
                break;
            }
            self.out.truncate(length);
            self.state = state.clone();
        }
        self.depth -= 1;
        derived
    }

    fn attempt(&mut self, number: usize) -> bool {
        let grammar = self.grammar;
        let production = &grammar.productions[number];
        let start = self.out.len();
        let name = production.name.as_str();
        if name == "escape" {
            return self.escape();
        }
        let in_body = self.depth > 0 && !self.state.line && name == "heredoc_name";
        if in_body {
            self.out.push_str(&self.state.markers[0].name);
            return true;
        }
        let opens = !self.state.line && ["from", "command", "arg", "trigger"].contains(&name);
        if opens {
            (self.state.line, self.state.given, self.state.markers) =
                (true, Vec::new(), Vec::new());
        }
        self.state.directive |= name == "directive";
        self.digits = production.constraints.iter().any(|it| it == "64 digits").then_some(64);
        let derived = self.expr(&production.expr)
            && self.obeys(production.constraints.as_slice(), name, start);
        self.state.directive &= name != "directive";
        if !derived {
            return false;
        }
        self.respell(name, start);
        if opens {
            self.state.line = false;
            return self.close_line(start);
        }
        true
    }

    /// Only a directive may choose.
    fn escape(&mut self) -> bool {
        if self.state.directive {
            self.state.escape = if self.rng.one_in(2) { '`' } else { '\\' };
        }
        self.out.push(self.state.escape);
        true
    }

    /// Ends an instruction: its text becomes physical lines.
    fn close_line(&mut self, start: usize) -> bool {
        let text = self.out.split_off(start);
        let escape = self.state.escape;
        if spell::goes_on(&text, escape) {
            return false;
        }
        assert!(matches(self.grammar, "instruction", &text, escape), "no instruction: {text:?}");
        let lines = spell::lines(&text, escape, &mut self.rng);
        let whole = format!("{lines}\n");
        assert!(matches(self.grammar, "logical_line", &whole, escape), "no line: {whole:?}");
        self.out.push_str(&lines);
        true
    }

    /// Keeps the constraints; the stateful ones here.
    fn obeys(&mut self, constraints: &[String], production: &str, start: usize) -> bool {
        let text = &self.out[start..];
        let part = Part { production, text, after: "", escape: self.state.escape };
        if !constraints.iter().all(|constraint| holds(self.grammar, constraint, &part)) {
            return false;
        }
        if constraints.iter().any(|it| it == "once") {
            let key = text.split('=').next().unwrap();
            let key = key.trim_matches(|c: char| c == '#' || c.is_whitespace()).to_lowercase();
            let any_number = ["--mount", "--device", "--exclude"].contains(&key.as_str());
            if self.state.given.contains(&key) {
                return any_number;
            }
            self.state.given.push(key);
        }
        if constraints.iter().any(|it| it == "markers") {
            return self.finds_the_markers(start);
        }
        if constraints.iter().any(|it| it == "delimiter") {
            return self.ends_at_the_delimiter(start);
        }
        true
    }

    /// Whoever looks for here-documents must find those that were derived: no others, and no quote that hides them.
    fn finds_the_markers(&self, start: usize) -> bool {
        let text = &self.out[start..];
        let markers = &self.state.markers;
        let quotes: usize = markers.iter().map(|marker| marker.quotes).sum();
        text.matches("<<").count() == markers.len()
            && (markers.is_empty()
                || text.matches(['\'', '"']).count() == quotes && !text.contains(['$', '\\', '`']))
    }

    /// Only the last line is the delimiter, after tabs if the marker has a dash.
    fn ends_at_the_delimiter(&mut self, start: usize) -> bool {
        let marker = self.state.markers.remove(0);
        let ends = |line: &str| {
            let line = line.trim_end_matches('\r');
            line == marker.name || marker.chomp && line.trim_start_matches('\t') == marker.name
        };
        let mut lines = self.out[start..].strip_suffix('\n').unwrap().rsplit('\n');
        lines.next().is_some_and(ends) && !lines.any(ends)
    }

    fn respell(&mut self, name: &str, start: usize) {
        let text = &self.out[start..];
        let (spelled, lexical) = match name {
            "heredoc" => return self.note_marker(start),
            "mount" | "device" => (spell::csv(text, &mut self.rng), "csv_record"),
            _ if name.ends_with("_flags") => {
                (spell::flag(text, self.state.escape, &mut self.rng), "flag")
            }
            _ => return,
        };
        let sentence = matches(self.grammar, lexical, &spelled, self.state.escape);
        assert!(sentence, "no {lexical}: {spelled:?}");
        self.out.truncate(start);
        self.out.push_str(&spelled);
    }

    fn note_marker(&mut self, start: usize) {
        let (_, delimiter) = self.out[start..].split_once("<<").unwrap();
        let chomp = delimiter.starts_with('-');
        let quotes = delimiter.matches(['\'', '"']).count();
        let name = delimiter.trim_start_matches(['-', ' ', '\t']);
        let name = if quotes == 0 { name } else { &name[1..name.len() - 1] }.to_owned();
        self.state.markers.push(Marker { name, chomp, quotes });
    }

    fn expr(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Text { text, keyword } => {
                let case = if *keyword { self.rng.below(3) } else { 0 };
                self.out.push_str(&spell::case(text, case, &mut self.rng));
                true
            }
            Expr::Class { negated, ranges } => {
                let c = self.character(*negated, ranges);
                self.out.push(c);
                true
            }
            Expr::Symbol(number) => self.production(*number),
            Expr::Sequence(parts) => parts.iter().all(|part| self.expr(part)),
            Expr::Choice(alternatives) => self.choice(alternatives),
            Expr::Repeat { inner, least, most } => self.repeat(inner, *least, *most),
            Expr::Except(whole, part) => {
                let (length, state) = (self.out.len(), self.state.clone());
                (0..ATTEMPTS).any(|_| {
                    self.out.truncate(length);
                    self.state = state.clone();
                    let escape = self.state.escape;
                    self.expr(whole)
                        && !matches_expr(self.grammar, part, &self.out[length..], escape)
                })
            }
        }
    }

    fn choice(&mut self, alternatives: &[Expr]) -> bool {
        let alternative = if self.depth > DEEPEST {
            alternatives.iter().min_by_key(|alternative| height(alternative, &self.heights))
        } else {
            alternatives.get(self.rng.below(alternatives.len()))
        };
        self.expr(alternative.unwrap())
    }

    fn repeat(&mut self, inner: &Expr, least: usize, most: usize) -> bool {
        let is = |name: &str| matches!(inner, Expr::Symbol(it) if self.grammar.productions[*it].name == name);
        let mut count = least;
        if let Some(digits) = self.digits.take() {
            count = digits;
        } else if is("heredoc_body") {
            count = self.state.markers.len();
        } else if self.depth <= DEEPEST {
            while count < most && count < 12 && self.rng.one_in(2) {
                count += 1;
            }
        }
        for done in 0..count {
            let (length, state) = (self.out.len(), self.state.clone());
            if !self.expr(inner) {
                self.out.truncate(length);
                self.state = state;
                return done >= least && !self.owes_bodies();
            }
        }
        true
    }

    fn owes_bodies(&self) -> bool {
        !self.state.line && !self.state.markers.is_empty()
    }

    fn character(&mut self, negated: bool, ranges: &[(char, char)]) -> char {
        let wide = ranges.iter().any(|(low, high)| u32::from(*high) - u32::from(*low) > 0xFFFF);
        if negated || wide {
            let allowed: Vec<char> =
                PALETTE.chars().filter(|c| Expr::has(negated, ranges, *c)).collect();
            return allowed[self.rng.below(allowed.len())];
        }
        let (low, high) = ranges[self.rng.below(ranges.len())];
        let size = u32::from(high) - u32::from(low) + 1;
        char::from_u32(u32::from(low) + self.rng.below(size as usize) as u32).unwrap()
    }
}

/// How deep a derivation is at least.
fn height(expr: &Expr, heights: &[usize]) -> usize {
    match expr {
        Expr::Text { .. } | Expr::Class { .. } => 0,
        Expr::Symbol(number) => heights[*number],
        Expr::Sequence(parts) => parts.iter().map(|part| height(part, heights)).max().unwrap_or(0),
        Expr::Choice(parts) => parts.iter().map(|part| height(part, heights)).min().unwrap_or(0),
        Expr::Repeat { least: 0, .. } => 0,
        Expr::Repeat { inner, .. } => height(inner, heights),
        Expr::Except(whole, _) => height(whole, heights),
    }
}
