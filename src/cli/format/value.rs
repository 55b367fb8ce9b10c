//! What a template works on: JSON in which records and maps are told apart, as Go's types tell them.
//!
//! A record has known fields, so that a wrong name in a template is an error; of a map any key may be asked for.
//! Values are cheap to clone. They are shown as Go's `fmt` shows values of the like types.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::rc::Rc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::number;

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Value {
    /// Nothing: Go's `nil`.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Rc<str>),
    /// A list.
    List(Rc<[Value]>),
    /// Values under names that nobody knows beforehand, such as labels.
    Map(Rc<BTreeMap<String, Value>>),
    /// Values under names that are the same for every record of the kind, in order.
    Record(Rc<[Field]>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) value: Value,
    /// Whether it is left out of JSON if it is empty.
    pub(crate) omitted_if_empty: bool,
}

impl Field {
    /// Makes a field that is in JSON whatever its value is.
    pub(crate) fn new(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: value.into(), omitted_if_empty: false }
    }

    /// Makes a field that is in JSON if it is not empty.
    pub(crate) fn if_any(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: value.into(), omitted_if_empty: true }
    }
}

impl FromIterator<Field> for Value {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self::Record(fields.into_iter().collect())
    }
}

impl Value {
    /// Makes a record.
    pub(crate) fn record<N: Into<String>>(fields: impl IntoIterator<Item = (N, Value)>) -> Self {
        fields.into_iter().map(|(name, value)| Field::new(name, value)).collect()
    }

    /// Makes a map.
    pub(crate) fn map<V: Into<Value>>(pairs: impl IntoIterator<Item = (String, V)>) -> Self {
        Self::Map(Rc::new(pairs.into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    /// Makes a list.
    pub(crate) fn list<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }

    /// Returns whether a condition takes it as true: what is neither empty nor zero is, and every record.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(it) => *it,
            Self::Int(it) => *it != 0,
            Self::Float(it) => *it != 0.0,
            Self::Text(it) => !it.is_empty(),
            Self::List(it) => !it.is_empty(),
            Self::Map(it) => !it.is_empty(),
            Self::Record(_) => true,
        }
    }

    /// Names its kind, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Record(_) => "a record",
        }
    }

    /// Writes it as JSON in one line, without escapes that only HTML needs.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("keys are texts, and writing to memory does not fail")
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<serde_json::Value> for Value {
    /// Objects become records: see [`Value::map`] for those that are none.
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(it) => Self::Bool(it),
            Json::Number(it) => match (it.as_i64(), it.as_u64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(large)) => large.into(),
                (None, None) => Self::Float(it.as_f64().unwrap_or_default()),
            },
            Json::String(it) => it.into(),
            Json::Array(it) => Self::list(it),
            Json::Object(it) => Self::record(it.into_iter().map(|(k, v)| (k, v.into()))),
        }
    }
}

/// As Go's `%v`, with `<nil>` for nothing.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<nil>"),
            Self::Bool(it) => write!(f, "{it}"),
            Self::Int(it) => write!(f, "{it}"),
            Self::Float(it) => f.write_str(&number::compact(*it, None)),
            Self::Text(it) => f.write_str(it),
            Self::List(it) => spaced(f, "[", it.iter().map(|value| (None, value)), ']'),
            Self::Map(it) => {
                spaced(f, "map[", it.iter().map(|(name, value)| (Some(name.as_str()), value)), ']')
            }
            Self::Record(it) => spaced(f, "{", it.iter().map(|field| (None, &field.value)), '}'),
        }
    }
}

fn spaced<'a>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    values: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    close: char,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, (name, value)) in values.enumerate() {
        if index > 0 {
            f.write_char(' ')?;
        }
        if let Some(name) = name {
            write!(f, "{name}:")?;
        }
        write!(f, "{value}")?;
    }
    f.write_char(close)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(it) => to.serialize_bool(*it),
            Self::Int(it) => to.serialize_i64(*it),
            Self::Float(it) => to.serialize_f64(*it),
            Self::Text(it) => to.serialize_str(it),
            Self::List(it) => to.collect_seq(it.iter()),
            Self::Map(it) => to.collect_map(it.iter()),
            Self::Record(it) => {
                let mut map = to.serialize_map(None)?;
                for field in it.iter() {
                    if field.value.is_true() || !field.omitted_if_empty {
                        map.serialize_entry(&field.name, &field.value)?;
                    }
                }
                map.end()
            }
        }
    }
}
