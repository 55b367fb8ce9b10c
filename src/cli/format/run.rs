//! Uses a template on a value.
//!
//! What that costs is bounded: every node has a price, and so has every byte that a function makes or that is
//! printed. A template that asks for more than [`BUDGET`] ends with an error.

use std::rc::Rc;

use super::ast::{Arm, Command, Node, Operand, Pipeline, Result, Span, Start, TemplateError};
use super::functions;
use super::value::Value;

/// How much one use of a template may cost, in bytes made.
const BUDGET: usize = 1 << 26;
/// What a node costs.
const NODE: usize = 16;
/// What an element of a list that a function makes costs besides its bytes.
const ELEMENT: usize = 32;

/// Uses a template on a value. With `heading`, the value holds the headings of a table's columns.
pub(super) fn run(nodes: &[Node], value: &Value, heading: bool) -> Result<String> {
    let variables = vec![("$".to_owned(), value.clone())];
    let mut run = Run { out: String::new(), left: BUDGET, variables, heading };
    run.nodes(nodes, value)?;
    Ok(run.out)
}

struct Run {
    out: String,
    left: usize,
    /// Inner ones last.
    variables: Vec<(String, Value)>,
    heading: bool,
}

/// How a list ended.
enum Flow {
    Next,
    Break,
    Continue,
}

impl Run {
    fn charge(&mut self, cost: usize, span: &Span) -> Result<()> {
        let left = self.left.checked_sub(cost);
        self.left =
            left.ok_or_else(|| TemplateError::new(span, "the template makes too much of this"))?;
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        let scope = self.variables.len();
        for node in nodes {
            match self.node(node, dot)? {
                Flow::Next => {}
                flow => {
                    self.variables.truncate(scope);
                    return Ok(flow);
                }
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow> {
        match node {
            Node::Text(text) => {
                self.charge(NODE + text.len(), &(0..0))?;
                self.out.push_str(text);
            }
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                match pipeline.variables.as_slice() {
                    [] => self.print(&value, &pipeline.span)?,
                    names => self.set(names, &[value], pipeline.declares),
                }
            }
            Node::Choice { arms, otherwise } => return self.choice(arms, otherwise, dot),
            Node::Range { over, body, otherwise } => {
                return self.range(over, (body, otherwise), dot);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Value, span: &Span) -> Result<()> {
        let text = match value {
            Value::Null => "<no value>".to_owned(),
            value => value.to_string(),
        };
        self.charge(text.len(), span)?;
        self.out.push_str(&text);
        Ok(())
    }

    fn choice(&mut self, arms: &[Arm], otherwise: &[Node], dot: &Value) -> Result<Flow> {
        let scope = self.variables.len();
        for arm in arms {
            let value = self.pipeline(&arm.condition, dot)?;
            let (names, declares) = (&arm.condition.variables, arm.condition.declares);
            self.set(names, std::slice::from_ref(&value), declares);
            if value.is_true() {
                let flow = self.nodes(&arm.body, if arm.sets_dot { &value } else { dot });
                self.variables.truncate(scope);
                return flow;
            }
        }
        let flow = self.nodes(otherwise, dot);
        self.variables.truncate(scope);
        flow
    }

    fn range(
        &mut self,
        over: &Pipeline,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Value,
    ) -> Result<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(over, dot)?;
        let mut seen = false;
        for (index, element) in self.elements(&value, &over.span)? {
            seen = true;
            self.charge(NODE, &over.span)?;
            let values = match over.variables.len() {
                2 => vec![index, element.clone()],
                _ => vec![element.clone()],
            };
            self.set(&over.variables, &values, over.declares);
            let flow = self.nodes(body, &element)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        if seen { Ok(Flow::Next) } else { self.nodes(otherwise, dot) }
    }

    /// Returns what a `range` goes through, with its indexes or keys.
    fn elements(&self, value: &Value, span: &Span) -> Result<Elements> {
        match value {
            Value::List(list) => {
                let list = Rc::clone(list);
                let element = move |at: usize| ((at as u64).into(), list[at].clone());
                Ok(Box::new((0..self.length(value)).map(element)))
            }
            Value::Map(map) => {
                let pairs: Vec<_> =
                    map.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect();
                Ok(Box::new(pairs.into_iter()))
            }
            Value::Int(count) => {
                Ok(Box::new((0..*count).map(|number| (Value::Int(number), Value::Int(number)))))
            }
            Value::Null => Ok(Box::new(std::iter::empty())),
            other => {
                Err(TemplateError::new(span, format!("range can't iterate over {}", other.kind())))
            }
        }
    }

    fn length(&self, value: &Value) -> usize {
        if let Value::List(list) = value { list.len() } else { 0 }
    }

    fn set(&mut self, names: &[String], values: &[Value], declares: bool) {
        for (name, value) in names.iter().zip(values) {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match known {
                Some((_, old)) if !declares => *old = value.clone(),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        Ok(value.unwrap_or_default())
    }

    fn command(&mut self, command: &Command, last: Option<Value>, dot: &Value) -> Result<Value> {
        self.charge(NODE, &command.span)?;
        let [first, words @ ..] = command.words.as_slice() else { return Ok(Value::Null) };
        match &first.start {
            Start::Function(name) if first.fields.is_empty() => {
                self.function(name, (words, last), dot, &command.span)
            }
            _ => self.operand(first, dot),
        }
    }

    fn function(
        &mut self,
        name: &str,
        (words, last): (&[Operand], Option<Value>),
        dot: &Value,
        span: &Span,
    ) -> Result<Value> {
        if matches!(name, "and" | "or") {
            return self.decide(name == "and", (words, last), dot, span);
        }
        let mut args = Vec::with_capacity(words.len() + 1);
        for word in words {
            args.push(self.operand(word, dot)?);
        }
        args.extend(last);
        // Before the text is made: its parts are no longer than it.
        let given: usize = args.iter().map(weight).sum();
        self.charge(given, span)?;
        let value = functions::call(name, &args, self.heading)
            .map_err(|message| TemplateError::new(span, message))?;
        self.charge(weight(&value), span)?;
        Ok(value)
    }

    /// `and` and `or`: the first argument that decides, else the last; what is behind it is not looked at.
    fn decide(
        &mut self,
        is_and: bool,
        (words, last): (&[Operand], Option<Value>),
        dot: &Value,
        span: &Span,
    ) -> Result<Value> {
        let mut value = None;
        for word in words {
            let next = self.operand(word, dot)?;
            let decides = next.is_true() != is_and;
            value = Some(next);
            if decides {
                return Ok(value.unwrap_or_default());
            }
        }
        let what = if is_and { "and" } else { "or" };
        let message =
            || TemplateError::new(span, format!("`{what}` takes one argument or more, not 0"));
        last.or(value).ok_or_else(message)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        self.charge(NODE, &operand.span)?;
        let mut value = match &operand.start {
            Start::Dot => dot.clone(),
            Start::Nil => Value::Null,
            Start::Literal(value) => value.clone(),
            Start::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Value::Null, |(_, value)| value.clone())
            }
            Start::Function(name) => self.function(name, (&[], None), dot, &operand.span)?,
            Start::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
        };
        for (name, span) in &operand.fields {
            value = field(&value, name, span)?;
        }
        Ok(value)
    }
}

type Elements = Box<dyn Iterator<Item = (Value, Value)>>;

/// What holding a value costs; what the template was given is held in any case.
fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len() * ELEMENT,
        _ => 0,
    }
}

/// Takes a field of a record, or a key of a map.
fn field(value: &Value, name: &str, span: &Span) -> Result<Value> {
    match value {
        Value::Map(map) => Ok(map.get(name).cloned().unwrap_or_default()),
        Value::Record(fields) => {
            let found = fields.iter().find(|field| field.name == name);
            found.map(|field| field.value.clone()).ok_or_else(|| {
                let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
                TemplateError::new(span, format!("can't evaluate field `{name}`"))
                    .hint(format!("the fields are {}", known.join(", ")))
            })
        }
        other => Err(TemplateError::new(
            span,
            format!("can't evaluate field `{name}` of {}", other.kind()),
        )),
    }
}
