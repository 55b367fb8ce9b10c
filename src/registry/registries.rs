//! `registries.conf`, version 2: where the images of a name are, and what a short name means.
//!
//! Pure: files in, places out. Which files there are, and in which order, is the caller's to find out; later ones
//! override earlier ones, and tables of registries and aliases are merged. A table is chosen by the longest `prefix`
//! of the name. `short-name-mode` is read and changes nothing: nobody is ever asked to choose.

mod parse;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use parse::RegistriesError;

use crate::oci::{Reference, ReferenceError};

/// What the files say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// By prefix.
    tables: BTreeMap<String, Table>,
    search: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    /// `None` takes an alias of an earlier file back.
    aliases: BTreeMap<String, Option<Reference>>,
}

/// A `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    prefix: String,
    /// Empty: the name's own, where the prefix begins with `*.`.
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    /// Which file says so.
    origin: PathBuf,
}

/// A `[[registry.mirror]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    serves: Serves,
}

/// Which names a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    All,
    Digests,
    Tags,
}

/// What is wanted of a repository, which decides who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reading what a tag means.
    PullTag,
    /// Reading what has a digest.
    PullDigest,
    /// Writing.
    Push,
}

/// Where something can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name there.
    pub reference: Reference,
    /// Whether the registry may show any certificate or speak plain HTTP.
    pub insecure: bool,
    /// The file that forbids to ask there.
    pub blocked: Option<PathBuf>,
    /// Whether it stands in for the image's own registry.
    pub is_mirror: bool,
}

impl Registries {
    /// Returns where an image is to be asked for, in this order; there is at least one place, and the last one is the
    /// image's own registry.
    ///
    /// # Errors
    ///
    /// Fails if a location makes the name one that cannot be.
    pub fn places(
        &self,
        reference: &Reference,
        purpose: Purpose,
    ) -> Result<Vec<Place>, ReferenceError> {
        let Some(table) = self.table(reference) else {
            return Ok(vec![self.place(reference.clone(), false)]);
        };
        let serves = |mirror: &&Mirror| match (mirror.serves, purpose) {
            (_, Purpose::Push) => false,
            (Serves::All, _) => true,
            (Serves::Digests, purpose) => purpose == Purpose::PullDigest,
            (Serves::Tags, purpose) => purpose == Purpose::PullTag,
        };
        let mirrors = table.mirrors.iter().filter(serves);
        let mut places = Vec::new();
        for mirror in mirrors {
            let there = table.rewrite(reference, &mirror.location)?;
            places.push(Place { is_mirror: true, ..self.place(there, mirror.insecure) });
        }
        let own = self.place(table.rewrite(reference, &table.location)?, table.insecure);
        let forbidden = table.blocked.then(|| table.origin.clone());
        places.push(Place { blocked: forbidden.or(own.blocked.clone()), ..own });
        Ok(places)
    }

    /// Returns the names that a short one may mean, in the order in which they are tried: an alias, else one for each
    /// registry to be searched, else what docker takes it for.
    ///
    /// # Errors
    ///
    /// Fails if a registry to be searched cannot have an image of this name.
    pub fn candidates(&self, short: &Reference) -> Result<Vec<Reference>, ReferenceError> {
        if let Some(Some(target)) = self.aliases.get(&short.familiar_name()) {
            return Ok(vec![short.moved_to(&target.name())?]);
        }
        match self.search.as_deref() {
            None | Some([]) => Ok(vec![short.clone()]),
            Some(registries) => {
                let name = short.familiar_name();
                registries.iter().map(|it| short.moved_to(&format!("{it}/{name}"))).collect()
            }
        }
    }

    /// Returns whether a registry (`host[:port]`) may show any certificate or speak plain HTTP.
    pub fn is_insecure(&self, domain: &str) -> bool {
        let names_it = |table: &&Table| prefix_length(domain, &table.prefix).is_some();
        let longest = self.tables.values().filter(names_it).max_by_key(|it| it.prefix.len());
        longest.is_some_and(|table| table.insecure)
    }

    /// Returns who is asked for credentials: programs by what follows `docker-credential-`, and
    /// `containers-auth.json` for the files; empty: the files alone.
    pub fn credential_helpers(&self) -> &[String] {
        self.credential_helpers.as_deref().unwrap_or_default()
    }

    /// Makes a place of a name that was rewritten already: what the table of its registry says holds there too.
    fn place(&self, reference: Reference, insecure: bool) -> Place {
        let table = self.table(&reference);
        let blocked = table.filter(|table| table.blocked).map(|table| table.origin.clone());
        let insecure = insecure || table.is_some_and(|table| table.insecure);
        Place { reference, insecure, blocked, is_mirror: false }
    }

    fn table(&self, reference: &Reference) -> Option<&Table> {
        let text = reference.to_string();
        let names_it = |table: &&Table| prefix_length(&text, &table.prefix).is_some();
        self.tables.values().filter(names_it).max_by_key(|table| table.prefix.len())
    }

    /// Returns these with what a later file says in addition or instead.
    #[must_use]
    pub fn overridden_by(mut self, later: Self) -> Self {
        self.tables.extend(later.tables);
        self.aliases.extend(later.aliases);
        self.search = later.search.or(self.search);
        self.credential_helpers = later.credential_helpers.or(self.credential_helpers);
        self
    }
}

impl Table {
    fn rewrite(&self, reference: &Reference, location: &str) -> Result<Reference, ReferenceError> {
        let text = reference.to_string();
        match prefix_length(&text, &self.prefix) {
            Some(length) if !location.is_empty() => {
                Reference::parse_full(&format!("{location}{}", &text[length..]))
            }
            _ => Ok(reference.clone()),
        }
    }
}

/// Returns how much of a name a prefix covers, if it does: up to a `/`, `:`, `@` or the end. `*.` stands for one
/// subdomain or more.
fn prefix_length(name: &str, prefix: &str) -> Option<usize> {
    let length = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let host = name.split('/').next().unwrap_or_default();
            let host = host.split([':', '@']).next().unwrap_or_default();
            host.ends_with(suffix).then_some(host.len())?
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    let rest = &name[length..];
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(length)
}

#[cfg(test)]
mod tests;
