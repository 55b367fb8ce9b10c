//! One `registries.conf`: TOML in, tables out.
//!
//! Keys that are not known are passed over, as containers/image does. The old format is an error, because half of it
//! would mean nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Mirror, Registries, Serves, Table};
use crate::oci::Reference;

/// Why a `registries.conf` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// It is not TOML, or a value is of the wrong kind.
    #[error("cannot read the registries of `{path}`")]
    Toml {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It has the format that came before version 2.
    #[error("`{0}` has version 1 of the format, which is not supported any more")]
    Version1(PathBuf),
    /// What it says cannot be.
    #[error("cannot use the registries of `{path}`: {problem}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

impl RegistriesError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Version1(_) => Some(
                "write `unqualified-search-registries = […]` and a `[[registry]]` with `location`, `insecure` and \
                 `blocked` for each registry"
                    .to_owned(),
            ),
            Self::Toml { .. } | Self::Invalid { .. } => None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    registry: Vec<RegistryTable>,
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<String>,
    aliases: BTreeMap<String, String>,
    /// `[registries.search]` and its kin are version 1.
    registries: Option<toml::Table>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryTable {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: String,
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

impl Registries {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// Fails if it is not a `registries.conf` of version 2.
    pub fn parse(path: &Path, text: &str) -> Result<Self, RegistriesError> {
        let file: File = toml::from_str(text).map_err(|source| RegistriesError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        if file.registries.is_some() {
            return Err(RegistriesError::Version1(path.to_owned()));
        }
        read(file, path)
            .map_err(|problem| RegistriesError::Invalid { path: path.to_owned(), problem })
    }
}

fn read(file: File, path: &Path) -> Result<Registries, String> {
    let modes = ["", "disabled", "permissive", "enforcing"];
    let mode = file.short_name_mode.unwrap_or_default();
    if !modes.contains(&mode.as_str()) {
        return Err(format!("the `short-name-mode` `{mode}` does not exist"));
    }
    let mut read: Vec<Table> = Vec::new();
    for written in file.registry {
        read.push(table(written, path)?);
    }
    no_contradictions(&read)?;
    let mut tables = BTreeMap::new();
    for table in read {
        tables.entry(table.prefix.clone()).or_insert(table);
    }
    let search = file
        .unqualified_search_registries
        .map(|hosts| hosts.iter().map(|host| search_registry(host)).collect::<Result<Vec<_>, _>>());
    let aliases = file.aliases.iter().map(|(name, target)| alias(name, target));
    Ok(Registries {
        tables,
        search: search.transpose()?,
        credential_helpers: file.credential_helpers,
        aliases: aliases.collect::<Result<_, _>>()?,
    })
}

/// Returns a location without the slashes at its end.
fn location(text: &str) -> Result<String, String> {
    let location = text.trim_end_matches('/');
    match location.split_once("://") {
        Some((_, rest)) => {
            Err(format!("the location `{text}` has a scheme; write `{rest}` instead"))
        }
        None => Ok(location.to_owned()),
    }
}

fn table(written: RegistryTable, path: &Path) -> Result<Table, String> {
    let (location, prefix) = (location(&written.location)?, self::location(&written.prefix)?);
    let prefix = match (prefix.is_empty(), location.is_empty()) {
        (true, true) => return Err("a `[[registry]]` has neither `prefix` nor `location`".into()),
        (true, false) => location.clone(),
        (false, true) if !prefix.starts_with("*.") => {
            return Err(format!("the registry `{prefix}` has no `location`"));
        }
        (false, _) => prefix,
    };
    if prefix.starts_with("*.") && prefix.contains(['/', '@', ':']) {
        return Err(format!("the prefix `{prefix}` must have the form `*.example.com`"));
    }
    if !written.pull_from_mirror.is_empty() {
        return Err(format!("`pull-from-mirror` of `{prefix}` belongs to one of its mirrors"));
    }
    let only = written.mirror_by_digest_only;
    let mirrors = written.mirror.into_iter().map(|written| mirror(written, &prefix, only));
    Ok(Table {
        mirrors: mirrors.collect::<Result<_, _>>()?,
        prefix,
        location,
        insecure: written.insecure,
        blocked: written.blocked,
        origin: path.to_owned(),
    })
}

fn mirror(written: MirrorTable, prefix: &str, by_digest_only: bool) -> Result<Mirror, String> {
    let location = location(&written.location)?;
    if location.is_empty() {
        return Err(format!("a mirror of `{prefix}` has no `location`"));
    }
    let serves = match (written.pull_from_mirror.as_str(), by_digest_only) {
        ("", true) => Serves::Digests,
        ("" | "all", false) => Serves::All,
        ("digest-only", false) => Serves::Digests,
        ("tag-only", false) => Serves::Tags,
        (_, true) => {
            return Err(format!(
                "`{prefix}` has `mirror-by-digest-only`, and its mirror `{location}` `pull-from-mirror`: one is enough"
            ));
        }
        (other, false) => {
            return Err(format!("the mirror `{location}` has `pull-from-mirror = \"{other}\"`"));
        }
    };
    Ok(Mirror { location, insecure: written.insecure, serves })
}

/// One location may be that of several prefixes, but it cannot be secure for one and not for the other.
fn no_contradictions(tables: &[Table]) -> Result<(), String> {
    let place = |table: &Table| match table.location.is_empty() {
        true => table.prefix.clone(),
        false => table.location.clone(),
    };
    for (i, table) in tables.iter().enumerate() {
        for other in &tables[..i] {
            let same = (table.insecure, table.blocked) == (other.insecure, other.blocked);
            if place(table) == place(other) && !same {
                return Err(format!(
                    "`{}` is there several times, with different `insecure` or `blocked`",
                    place(table)
                ));
            }
        }
    }
    Ok(())
}

fn search_registry(text: &str) -> Result<String, String> {
    let host = location(text)?;
    match Reference::parse_full(&format!("{host}/x")) {
        Ok(_) if !host.contains(['/', '@']) => Ok(host),
        _ => Err(format!("`{text}` in `unqualified-search-registries` is no registry")),
    }
}

/// An alias with an empty target takes back one of an earlier file.
fn alias(name: &str, target: &str) -> Result<(String, Option<Reference>), String> {
    let plain = |reference: &Reference| reference.tag().is_none() && reference.digest().is_none();
    let short = Reference::parse(name).ok().filter(|_| Reference::is_short(name)).filter(plain);
    let short = short.ok_or_else(|| format!("the alias `{name}` is no short name"))?;
    if target.is_empty() {
        return Ok((short.familiar_name(), None));
    }
    let full = Reference::parse(target).ok().filter(|_| !Reference::is_short(target));
    let full = full.filter(plain).ok_or_else(|| {
        format!(
            "the alias `{name}` must mean a name with a registry and without a tag, not `{target}`"
        )
    })?;
    Ok((short.familiar_name(), Some(full)))
}
