//! Says whether a text is a sentence of a grammar, constraints on the text alone included.
//!
//! Every way of reading is followed at once, as sets of places, so ambiguity and order of alternatives do not matter.

use std::collections::{BTreeSet, HashMap};

use super::constraint::{Part, holds};
use super::ebnf::{Expr, Grammar};

/// The places at which something can end.
type Ends = BTreeSet<usize>;

/// Says whether a production derives a text, given the escape character in force.
pub(crate) fn matches(grammar: &Grammar, production: &str, text: &str, escape: char) -> bool {
    let expr = Expr::Symbol(grammar.number(production));
    matches_expr(grammar, &expr, text, escape)
}

/// Says whether a part of a production derives a text.
pub(crate) fn matches_expr(grammar: &Grammar, expr: &Expr, text: &str, escape: char) -> bool {
    let places = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut reading = Reading { grammar, text, places, escape, known: HashMap::new() };
    let last = reading.places.len() - 1;
    reading.ends(expr, 0).contains(&last)
}

struct Reading<'g, 't> {
    grammar: &'g Grammar,
    text: &'t str,
    /// The offset of each character, and the end.
    places: Vec<usize>,
    escape: char,
    known: HashMap<(usize, usize), Ends>,
}

impl Reading<'_, '_> {
    fn char_at(&self, at: usize) -> Option<char> {
        self.text[self.places[at]..].chars().next()
    }

    fn ends(&mut self, expr: &Expr, at: usize) -> Ends {
        match expr {
            Expr::Text { text, keyword } => {
                let end = at + text.chars().count();
                let found = self.places.get(end).map(|end| &self.text[self.places[at]..*end]);
                let same =
                    |found: &str| found == text || *keyword && found.eq_ignore_ascii_case(text);
                found.is_some_and(same).then_some(end).into_iter().collect()
            }
            Expr::Class { negated, ranges } => {
                let has = self.char_at(at).is_some_and(|c| Expr::has(*negated, ranges, c));
                has.then_some(at + 1).into_iter().collect()
            }
            Expr::Symbol(number) => self.production(*number, at),
            Expr::Sequence(parts) => parts.iter().fold(Ends::from([at]), |starts, part| {
                starts.into_iter().flat_map(|start| self.ends(part, start)).collect()
            }),
            Expr::Choice(alternatives) => {
                alternatives.iter().flat_map(|alternative| self.ends(alternative, at)).collect()
            }
            Expr::Repeat { inner, least, most } => self.repeated(inner, *least, *most, at),
            Expr::Except(whole, part) => {
                let whole = self.ends(whole, at);
                if whole.is_empty() { whole } else { &whole - &self.ends(part, at) }
            }
        }
    }

    fn repeated(&mut self, inner: &Expr, least: usize, most: usize, at: usize) -> Ends {
        let once = |this: &mut Self, starts: &Ends| -> Ends {
            starts.iter().flat_map(|start| this.ends(inner, *start)).collect()
        };
        let start = Ends::from([at]);
        let mut fresh = if least == 0 { start } else { once(self, &start) };
        let mut all = fresh.clone();
        let mut count = least;
        while count < most && !fresh.is_empty() {
            fresh = &once(self, &fresh) - &all;
            all.extend(&fresh);
            count += 1;
        }
        all
    }

    fn production(&mut self, number: usize, at: usize) -> Ends {
        if let Some(ends) = self.known.get(&(number, at)) {
            return ends.clone();
        }
        let grammar = self.grammar;
        let production = &grammar.productions[number];
        let mut ends = self.ends(&production.expr, at);
        ends.retain(|end| {
            let (start, end) = (self.places[at], self.places[*end]);
            let part = Part {
                production: &production.name,
                text: &self.text[start..end],
                after: &self.text[end..],
                escape: self.escape,
            };
            production.constraints.iter().all(|constraint| holds(grammar, constraint, &part))
        });
        self.known.insert((number, at), ends.clone());
        ends
    }
}
