//! The syntax tree of a template, and what is wrong with one.

use std::ops::Range;

use super::value::Value;

/// Where in the template something stands, in bytes.
pub(super) type Span = Range<usize>;

/// What is wrong with a template, or with what it asks of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateError {
    pub(super) message: String,
    pub(super) span: Span,
    pub(super) hint: Option<String>,
}

impl TemplateError {
    pub(super) fn new(span: &Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: span.clone(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A result of reading or using a template.
pub(super) type Result<T> = std::result::Result<T, TemplateError>;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// What is printed as it stands.
    Text(String),
    /// What is computed, and printed unless it goes to a variable.
    Print(Pipeline),
    /// `if` and `with`: the first arm whose pipeline is true, else the last list.
    Choice { arms: Vec<Arm>, otherwise: Vec<Node> },
    /// `range`: its body for each element, else the last list.
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    /// The end of the innermost `range`.
    Break,
    /// The next element of the innermost `range`.
    Continue,
}

/// A condition and what it guards.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) condition: Pipeline,
    pub(super) body: Vec<Node>,
    /// Whether the condition's value is the dot of its body, as for `with`.
    pub(super) sets_dot: bool,
}

/// Commands, each of which is given the result of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// The variables that get the result; two only for `range`.
    pub(super) variables: Vec<String>,
    /// Whether the variables are new (`:=`) or there already (`=`).
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
    pub(super) span: Span,
}

/// A value, or a function and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) words: Vec<Operand>,
    pub(super) span: Span,
}

/// Something with a value, and the fields that are taken of it.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) start: Start,
    pub(super) fields: Vec<(String, Span)>,
    pub(super) span: Span,
}

/// Where an operand begins.
#[derive(Debug)]
pub(super) enum Start {
    Dot,
    Nil,
    Literal(Value),
    Variable(String),
    Function(String),
    Pipeline(Box<Pipeline>),
}
