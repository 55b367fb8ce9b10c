//! JSON as Go writes it, and serde for values that are written as text or as the keys of a map.
//!
//! Digests are taken over bytes, so the bytes are those of Go's `encoding/json`: `<`, `>`, `&`, U+2028 and U+2029
//! are escaped; `null` stands for an empty value. The order of the fields is the structs' own.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::str::FromStr;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny};
use serde::ser::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::Error;

/// How many values a document may have: some take up forty times the memory of their text.
const MOST_VALUES: usize = 250_000;

/// Parses a document of at most `limit` bytes.
pub(super) fn parse<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    limit: u64,
) -> Result<T, Error> {
    let size = bytes.len() as u64;
    if size > limit {
        return Err(Error::TooLarge { what, size, limit });
    }
    if values(bytes) > MOST_VALUES {
        return Err(Error::TooMany { what, limit: MOST_VALUES });
    }
    serde_json::from_slice(bytes).map_err(|source| Error::Malformed { what, source })
}

/// Counts what begins a value in a JSON text, or more in what is none.
fn values(bytes: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// Writes on one line.
pub(super) fn compact(value: &impl Serialize) -> Vec<u8> {
    write(value, CompactFormatter)
}

/// Writes with two spaces a level, as BuildKit writes manifests and indexes.
pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    write(value, PrettyFormatter::with_indent(b"  "))
}

fn write(value: &impl Serialize, formatter: impl Formatter) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Go(formatter));
    value
        .serialize(&mut serializer)
        .expect("the documents have string keys and memory does not fail");
    out
}

/// A formatter that escapes what Go escapes besides.
struct Go<F>(F);

macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, $($argument: $type),*) -> io::Result<()> {
            self.0.$name(writer, $($argument),*)
        })*
    };
}

impl<F: Formatter> Formatter for Go<F> {
    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let special = |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(special) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let character = rest[at..].chars().next().expect("find returned its position");
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = &rest[at + character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Reads `null` as the empty value.
pub(super) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Returns whether a field has its empty value and is left out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A value that is written as text.
pub(super) mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer};
    use serde::de::Error as _;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &impl Display,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Values that are written as text, perhaps none.
pub(super) mod texts {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer};
    use serde::de::Error as _;

    pub(in super::super) fn serialize<'a, S, I, T>(values: I, to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        I: IntoIterator<Item = &'a T>,
        T: Display + 'a,
    {
        to.collect_seq(values.into_iter().map(T::to_string))
    }

    pub(in super::super) fn deserialize<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        let texts = Option::<Vec<String>>::deserialize(from)?.unwrap_or_default();
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

/// A time as RFC 3339 has it, in UTC, with as many digits as it needs.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Serializer};
    use jiff::Timestamp;
    use serde::de::Error as _;

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(time),
            None => to.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<Option<Timestamp>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// A set, written as a map from each member to `{}`.
pub(super) mod set {
    use super::{BTreeSet, Deserialize, Deserializer, IgnoredAny, Serializer};
    use std::collections::BTreeMap;

    pub(in super::super) fn serialize<S: Serializer>(
        set: &BTreeSet<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let empty = BTreeMap::<(), ()>::new();
        to.collect_map(set.iter().map(|member| (member, &empty)))
    }

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<BTreeSet<String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(from)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}
