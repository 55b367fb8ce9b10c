//! RUN --mount: its options, read and checked.
//!
//! The text is read twice in a mount's life. `check` runs while the Dockerfile is parsed and looks only at what no
//! variable can change; [`parse`] runs once the variables are known. Options are checked in order, so `type` must
//! come before `size` and `required`.

use super::ast::{Mount, MountKind, Sharing};
use super::csv::csv_record;
use super::suggest;
use super::word::WordError;

/// A mount that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The options are no list with commas.
    #[error("the options of `--mount` are not a list with commas")]
    Csv,
    /// An option that does not exist.
    #[error("`--mount` has no option `{key}`")]
    UnknownOption {
        /// The option.
        key: String,
        /// The one that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// An option that needs a value.
    #[error("option `{0}` of `--mount` needs a value")]
    NoValue(String),
    /// A value that an option does not take.
    #[error("`{value}` is not a value of the mount option `{key}`")]
    Value {
        /// The option.
        key: String,
        /// Its value.
        value: String,
        /// What to try.
        remedy: String,
    },
    /// An option that the type of mount does not take.
    #[error("a {kind} mount has no option `{key}`")]
    NotForType {
        /// The type.
        kind: &'static str,
        /// The option.
        key: String,
    },
    /// A variable where none is expanded.
    #[error("variables are not expanded in `from` of `--mount`")]
    VariableInFrom,
    /// A secret without any name.
    #[error("a secret mount needs an `id` or a `target`")]
    UnnamedSecret,
    /// A secret with two names.
    #[error("a secret mount takes `id` or `source`, not both")]
    TwoNames,
    /// A value cannot be expanded.
    #[error("option `{key}` of `--mount` cannot be expanded")]
    Word {
        /// The option.
        key: String,
        /// Why.
        #[source]
        error: WordError,
    },
}

impl MountError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Csv => {
                "write it as `type=cache,target=/path`; quote a whole field that holds a comma"
                    .into()
            }
            Self::UnknownOption { suggestion, .. } => {
                return suggestion.map(|s| format!("did you mean `{s}`?"));
            }
            Self::NoValue(key) => format!("write `{key}=value`"),
            Self::Value { remedy, .. } => remedy.clone(),
            Self::NotForType { key, .. } if key == "size" || key == "required" => {
                "put `type=` before the other options".into()
            }
            Self::NotForType { .. } | Self::UnnamedSecret => return None,
            Self::VariableInFrom => {
                "add a stage `FROM image-with-$VARIABLE AS name` and mount from `name`".into()
            }
            Self::TwoNames => "remove one of the two".into(),
            Self::Word { error, .. } => return error.hint(),
        })
    }
}

const OPTIONS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// Checks what can be checked before variables are known.
pub(super) fn check(text: &str) -> Result<(), MountError> {
    for field in csv_record(text).ok_or(MountError::Csv)? {
        if let Some((key, value)) = field.split_once('=')
            && key.to_lowercase() == "from"
            && value.find('$').is_some_and(|at| at + 1 != value.len())
        {
            return Err(MountError::VariableInFrom);
        }
    }
    Ok(())
}

/// Returns the stage or image that a mount names, as written; nothing if it names none.
pub fn from(text: &str) -> Option<String> {
    let fields = csv_record(text)?;
    let named = fields.iter().rev().filter_map(|field| field.split_once('='));
    let mut named = named.filter(|(key, _)| key.eq_ignore_ascii_case("from"));
    named.next().map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
}

/// Reads and checks the options of a [`Mount`], its values expanded.
pub fn parse(
    text: &str,
    expand: &mut dyn FnMut(&str) -> Result<String, WordError>,
) -> Result<Mount, MountError> {
    let mut draft = Draft::default();
    for field in csv_record(text).ok_or(MountError::Csv)? {
        draft.mount_option(&field, expand)?;
    }
    draft.finish()
}

/// A mount whose options are being read.
#[derive(Default)]
struct Draft {
    mount: Mount,
    readonly: Option<bool>,
}

impl Draft {
    /// `mount_option ::= mount_flag | mount_key`
    fn mount_option(
        &mut self,
        field: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, WordError>,
    ) -> Result<(), MountError> {
        let Some((key, value)) = field.split_once('=') else {
            return self.mount_flag(&field.to_lowercase(), field);
        };
        let key = key.to_lowercase();
        let value = expand(value).map_err(|error| MountError::Word { key: key.clone(), error })?;
        self.mount_key(&key, value)
    }

    /// `mount_flag ::= 'readonly' | 'ro' | 'readwrite' | 'rw' | 'required'`
    fn mount_flag(&mut self, key: &str, field: &str) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => self.readonly = Some(true),
            "readwrite" | "rw" => self.readonly = Some(false),
            "required" => self.require(true)?,
            _ => return Err(MountError::NoValue(field.to_owned())),
        }
        Ok(())
    }

    /// ```text
    /// mount_key ::= 'type=' kind | 'from=' [^$",#xA]*
    ///             | ('source' | 'src' | 'target' | 'dst' | 'destination' | 'id' | 'env') "=" [^",#xA]*
    ///             | ('readonly' | 'ro' | 'readwrite' | 'rw' | 'required') "=" boolean
    ///             | 'sharing=' sharing | 'size=' size | ('uid' | 'gid') "=" number
    ///             | 'mode=' (number - ([0-9]* [89] [0-9]*))
    /// ```
    fn mount_key(&mut self, key: &str, value: String) -> Result<(), MountError> {
        match key {
            "type" => self.mount.kind = kind(&value)?,
            "from" => self.mount.from = value,
            "source" | "src" => self.mount.source = value,
            "target" | "dst" | "destination" => self.mount.target = value,
            "readonly" | "ro" => self.readonly = Some(boolean(key, &value)?),
            "readwrite" | "rw" => self.readonly = Some(!boolean(key, &value)?),
            "required" if self.may_be_required() => self.require(boolean(key, &value)?)?,
            "size" if self.mount.kind == MountKind::Tmpfs => self.mount.size = size(&value)?,
            "required" | "size" => return Err(self.not_for_type(key)),
            "id" => self.mount.id = value,
            "sharing" => self.mount.sharing = Some(sharing(&value)?),
            "mode" => self.mount.mode = Some(number(key, &value, 8)?),
            "uid" => self.mount.uid = Some(number(key, &value, 10)?),
            "gid" => self.mount.gid = Some(number(key, &value, 10)?),
            "env" => self.mount.env = Some(value),
            _ => {
                let suggestion = suggest::nearest(key, OPTIONS);
                return Err(MountError::UnknownOption { key: key.to_owned(), suggestion });
            }
        }
        Ok(())
    }

    fn may_be_required(&self) -> bool {
        matches!(self.mount.kind, MountKind::Secret | MountKind::Ssh)
    }

    fn require(&mut self, required: bool) -> Result<(), MountError> {
        if !self.may_be_required() {
            return Err(self.not_for_type("required"));
        }
        self.mount.required = required;
        Ok(())
    }

    fn not_for_type(&self, key: &str) -> MountError {
        MountError::NotForType { kind: name(self.mount.kind), key: key.to_owned() }
    }

    fn finish(mut self) -> Result<Mount, MountError> {
        let mount = &self.mount;
        let (owned, readonly) = match mount.kind {
            MountKind::Bind => (false, true),
            MountKind::Tmpfs => (false, false),
            MountKind::Cache => (true, false),
            MountKind::Secret | MountKind::Ssh => (true, true),
        };
        let given = [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)];
        if let Some((key, _)) = given.iter().find(|(_, value)| !owned && value.is_some()) {
            return Err(self.not_for_type(key));
        }
        if mount.kind == MountKind::Secret {
            if !mount.from.is_empty() {
                return Err(self.not_for_type("from"));
            }
            if mount.source.is_empty() && mount.target.is_empty() && mount.id.is_empty() {
                return Err(MountError::UnnamedSecret);
            }
            if !mount.source.is_empty() && !mount.id.is_empty() {
                return Err(MountError::TwoNames);
            }
        }
        if mount.sharing.is_some() && mount.kind != MountKind::Cache {
            return Err(self.not_for_type("sharing"));
        }
        self.mount.readonly = self.readonly.unwrap_or(readonly);
        Ok(self.mount)
    }
}

fn name(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Cache => "cache",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Secret => "secret",
        MountKind::Ssh => "ssh",
    }
}

/// `kind ::= 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh'`
fn kind(value: &str) -> Result<MountKind, MountError> {
    const KINDS: [MountKind; 5] =
        [MountKind::Bind, MountKind::Cache, MountKind::Tmpfs, MountKind::Secret, MountKind::Ssh];
    let lower = value.to_lowercase();
    let found = KINDS.into_iter().find(|kind| name(*kind) == lower);
    found.ok_or_else(|| one_of("type", value, &KINDS.map(name)))
}

/// `sharing ::= 'shared' | 'private' | 'locked'`
fn sharing(value: &str) -> Result<Sharing, MountError> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(one_of("sharing", value, &["shared", "private", "locked"])),
    }
}

fn one_of(key: &str, value: &str, known: &[&'static str]) -> MountError {
    let remedy = match suggest::nearest(value, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("use one of `{}`", known.join("`, `")),
    };
    MountError::Value { key: key.to_owned(), value: value.to_owned(), remedy }
}

fn invalid(key: &str, value: &str, remedy: &str) -> MountError {
    MountError::Value { key: key.to_owned(), value: value.to_owned(), remedy: remedy.to_owned() }
}

fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
    super::boolean(value).ok_or_else(|| invalid(key, value, "use `true` or `false`"))
}

/// `number ::= [0-9]+`
fn number(key: &str, value: &str, radix: u32) -> Result<u32, MountError> {
    let remedy = if radix == 8 {
        "use an octal number such as `0700`"
    } else {
        "use a number such as `1000`"
    };
    // `from_str_radix` takes a sign, which is none of a mode or an id.
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = u32::from_str_radix(value, radix).ok().filter(|_| digits);
    number.ok_or_else(|| invalid(key, value, remedy))
}

/// Reads a size with an optional binary unit: `64m`, `1.5 GiB`, `100`.
///
/// ```text
/// size ::= "+"? ([0-9]+ ("." [0-9]*)? | "." [0-9]+) " "?
///          (('k' | 'm' | 'g' | 't' | 'p') ('b' | 'ib')? | 'b')?
/// ```
pub fn size(value: &str) -> Result<i64, MountError> {
    let error = || invalid("size", value, "use a size such as `64m`");
    let last =
        value.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(error)?;
    let (number, unit) = value.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let decimal = number.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let number: f64 = number.parse().ok().filter(|_| decimal).ok_or_else(error)?;
    if number < 0.0 || !number.is_finite() {
        return Err(error());
    }
    let unit = unit.to_ascii_lowercase();
    let power = match unit
        .strip_suffix("ib")
        .filter(|u| u.len() == 1)
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(error()),
    };
    Ok((number * 1024_f64.powi(power)) as i64)
}

#[cfg(test)]
mod tests {
    use super::{MountError, parse, size};
    use crate::dockerfile::ast::{Mount, MountKind};

    fn plain(text: &str) -> Result<Mount, MountError> {
        parse(text, &mut |word| Ok(word.to_owned()))
    }

    #[test]
    fn sizes() {
        let table =
            [("64m", 64 << 20), ("1.5 GiB", 3 << 29), ("100", 100), ("1KB", 1024), ("7b", 7)];
        for (text, expected) in table {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["m", "1x", "1bb", "-1", "1kib2", "inf", ""] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_type_comes_before_what_depends_on_it() {
        assert_eq!(plain("type=tmpfs,target=/x,size=1k").unwrap().size, 1024);
        assert!(plain("size=1k,type=tmpfs,target=/x").is_err());
        assert_eq!(plain("TYPE=Cache,dst=/c").unwrap().kind, MountKind::Cache);
        assert!(plain("target=/x").unwrap().readonly);
    }
}
