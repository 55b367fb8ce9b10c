//! `--format`: answers as a table, as JSON, or by a template in the language of Go's `text/template`.
//!
//! A command makes records of what it has to say and hands them to a [`Listing`], or to [`each`] where there is no
//! table. The words `table` and `json` and what comes after `table` mean what they mean to docker. Templates are as
//! Go's, without definitions, over [`Value`]s: see `run.rs` for how they are bounded.

mod ast;
mod functions;
mod literal;
mod number;
mod parse;
mod pipeline;
mod print;
mod run;
mod value;

use kiln::diagnostic::{Blame, Diagnostic, Place};

use super::table::aligned;
use super::text;
use ast::{Node, TemplateError};
pub(crate) use value::{Field, Value};

/// A template that was read.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Diagnostic> {
        let nodes = parse::parse(text).map_err(|error| diagnostic(text, error))?;
        Ok(Self { text: text.to_owned(), nodes })
    }

    /// Uses it on a value.
    pub(crate) fn of(&self, value: &Value) -> Result<String, Diagnostic> {
        run::run(&self.nodes, value, false).map_err(|error| diagnostic(&self.text, error))
    }

    /// Uses it on the headings of a table.
    fn of_headings(&self, headings: &Value) -> Result<String, Diagnostic> {
        run::run(&self.nodes, headings, true).map_err(|error| diagnostic(&self.text, error))
    }
}

fn diagnostic(text: &str, error: TemplateError) -> Diagnostic {
    let (file, text) = ("--format".to_owned(), text.to_owned());
    let place = Place { file, text, start: error.span.start, end: error.span.end };
    let mut diagnostic = Diagnostic::new(Blame::Input, error.message).hint(error.hint);
    diagnostic.place = Some(place);
    diagnostic
}

/// Records of one kind, to be shown as `--format` says.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    /// Their fields, each with what heads its column in a table.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    /// The table that is shown where nothing else is asked for: a template of one line, cells apart by tabs.
    pub(crate) table: &'a str,
    /// The records.
    pub(crate) rows: &'a [Value],
}

impl Listing<'_> {
    /// Shows the records: `table` (also for none and an empty one), `table TEMPLATE`, `json` (an object a line), or a
    /// template, which gives a line for each.
    pub(crate) fn show(&self, format: Option<&str>) -> Result<String, Diagnostic> {
        match format.map(str::trim).unwrap_or_default() {
            "" | "table" => self.table(self.table),
            "json" => Ok(self.rows.iter().map(|row| row.json() + "\n").collect()),
            other => {
                match other.strip_prefix("table").filter(|rest| rest.starts_with([' ', '{'])) {
                    Some(template) => self.table(template.trim()),
                    None => each(other, self.rows),
                }
            }
        }
    }

    fn table(&self, template: &str) -> Result<String, Diagnostic> {
        let template = Template::parse(template)?;
        let headings = self.fields.iter().map(|(name, heading)| (*name, Value::from(*heading)));
        let mut lines = template.of_headings(&Value::record(headings))? + "\n";
        for row in self.rows {
            lines += &template.of(&tidy(row))?;
            lines.push('\n');
        }
        Ok(aligned(&lines))
    }
}

/// Uses a template on each of some values, and ends each with a line end.
pub(crate) fn each(template: &str, values: &[Value]) -> Result<String, Diagnostic> {
    let template = Template::parse(template)?;
    values.iter().map(|value| Ok(template.of(value)? + "\n")).collect()
}

/// Returns a value whose texts fit into the cells of a table: they have one line, and cannot act on a terminal.
fn tidy(value: &Value) -> Value {
    match value {
        Value::Text(text) => text::single_line(text).into(),
        Value::List(list) => Value::list(list.iter().map(tidy)),
        Value::Map(map) => Value::map(map.iter().map(|(key, value)| (key.clone(), tidy(value)))),
        Value::Record(fields) => {
            let field = |field: &Field| Field { value: tidy(&field.value), ..field.clone() };
            fields.iter().map(field).collect()
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
