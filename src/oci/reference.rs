//! Names of images: `[domain/]path[:tag][@digest]`, with the rules of the distribution project.
//!
//! A `Reference` is always complete: `alpine` is `docker.io/library/alpine`. The grammar is
//! `grammar/reference.ebnf`; where the first component could be a domain or a part of the path it is a domain if
//! it has a dot, a colon or a capital, or is `localhost`. Two things differ from the reference implementation: only
//! SHA-256 digests are accepted, and a domain that is not a host (`a_b.c/x`) is an error, not a part of the path.
//!
//! It does not know where a registry listens, nor what a short name might be an alias of.

use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, opt, recognize, rest, verify};
use nom::multi::{many0_count, many1_count, separated_list1};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use crate::digest::{Digest, DigestError};

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_LEGACY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const PATH_LIMIT: usize = 255;

/// The name of an image or of a repository.
///
/// `reference ::= (host_and_port "/")? remote`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum ReferenceError {
    /// It does not have the form of one.
    #[error("invalid image reference `{0}`")]
    Format(String),
    /// The repository has capitals.
    #[error("invalid image reference `{text}`: repository name `{name}` must be lowercase")]
    Uppercase {
        /// The whole text.
        text: String,
        /// The repository's name.
        name: String,
    },
    /// It is the hexadecimal part of a digest.
    #[error("invalid image reference `{0}`: a repository cannot be named by 64 hexadecimal digits")]
    Identifier(String),
    /// The path is too long.
    #[error("invalid image reference: repository name must not be more than 255 characters")]
    TooLong,
    /// The digest is not one.
    #[error("invalid image reference `{text}`")]
    Digest {
        /// The whole text.
        text: String,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// The tag is not one.
    #[error("invalid tag `{0}`")]
    Tag(String),
}

impl ReferenceError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format(text) if text.contains("://") => {
                Some("write the name without a scheme, as in `registry.example.com/name:tag`".into())
            }
            Self::Format(_) => Some("the form is `[registry/]name[:tag][@digest]`".into()),
            Self::Uppercase { name, .. } => Some(format!("try `{}`", name.to_lowercase())),
            Self::Identifier(text) => Some(format!("to name an image by digest, write `name@sha256:{text}`")),
            Self::Tag(_) => Some(
                "a tag has at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two"
                    .into(),
            ),
            Self::TooLong | Self::Digest { .. } => None,
        }
    }
}

impl Reference {
    /// Parses a reference and completes its name; no tag is added.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let name = remainder.split(':').next().unwrap_or_default();
        if name.chars().any(char::is_uppercase) {
            let (text, name) = (text.to_owned(), name.to_owned());
            return Err(ReferenceError::Uppercase { text, name });
        }
        let malformed = |_| ReferenceError::Format(text.to_owned());
        all_consuming(host_and_port).parse(domain).map_err(malformed)?;
        let (_, (path, tag, digest)) = remote(&remainder).map_err(malformed)?;
        if path.len() > PATH_LIMIT {
            return Err(ReferenceError::TooLong);
        }
        let digest = digest
            .map(str::parse)
            .transpose()
            .map_err(|source| ReferenceError::Digest { text: text.to_owned(), source })?;
        Ok(Self {
            domain: domain.to_owned(),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// Parses a reference that must say its registry.
    pub fn parse_full(text: &str) -> Result<Self, ReferenceError> {
        if Self::is_short(text) {
            return Err(ReferenceError::Format(text.to_owned()));
        }
        Self::parse(text)
    }

    /// Returns whether a text names no registry, so that somebody must say which one is meant.
    pub fn is_short(text: &str) -> bool {
        !text.split_once('/').is_some_and(|(first, _)| is_domain(first))
    }

    /// Returns the same tag and digest in another repository, which is named in full.
    pub fn moved_to(&self, repository: &str) -> Result<Self, ReferenceError> {
        let Self { domain, path, .. } = Self::parse_full(repository)?;
        Ok(Self { domain, path, ..self.clone() })
    }

    /// Returns the registry's name: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the repository within the registry: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag that was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest that was given.
    ///
    /// `digest ::= "sha256:" [0-9a-f]+`
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns the repository's full name: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether an image can have this name: it has no digest, and does not look like one.
    pub fn can_be_given(&self) -> bool {
        self.digest().is_none() && self.familiar_name() != "sha256"
    }

    /// Returns the repository's name as people write it, `alpine`, unless that would mean another one.
    pub fn familiar_name(&self) -> String {
        if self.domain != DOCKER_HUB {
            return self.name();
        }
        let official = self.path.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        let short = official.unwrap_or(&self.path);
        // `docker.io/quay.io/x` must not look like what is at quay.io, nor a name of 64 digits like an id.
        let means_it = |it: &Self| (&it.domain, &it.path) == (&self.domain, &self.path);
        if Self::parse(short).is_ok_and(|it| means_it(&it)) {
            short.to_owned()
        } else {
            self.name()
        }
    }

    /// Returns the whole reference as people write it: `alpine:3.20`.
    pub fn familiar(&self) -> String {
        let Self { tag, digest, .. } = self;
        Suffix(self.familiar_name(), tag.as_deref(), *digest).to_string()
    }

    /// Returns the same with the tag `latest` where there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// Returns the same repository without tag and digest.
    #[must_use]
    pub fn repository(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// Returns the same repository with another tag and no digest.
    pub fn with_tag(&self, text: &str) -> Result<Self, ReferenceError> {
        let parsed = all_consuming(tag_name).parse(text);
        parsed.map_err(|_| ReferenceError::Tag(text.to_owned()))?;
        Ok(Self { tag: Some(text.to_owned()), digest: None, ..self.clone() })
    }

    /// Returns the same tag and digest of another repository.
    #[must_use]
    pub fn in_repository(&self, other: &Self) -> Self {
        Self { tag: self.tag.clone(), digest: self.digest, ..other.clone() }
    }

    /// Returns the same with this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Returns what a registry is asked for: the digest, else the tag, else `latest`.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Suffix(self.name(), self.tag.as_deref(), self.digest).fmt(f)
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// A name with tag and digest after it.
struct Suffix<'a>(String, Option<&'a str>, Option<Digest>);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)?;
        self.1.map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.2.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Returns whether the first component of a name is a registry.
fn is_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
}

/// Splits off the domain and completes short names.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remainder) = match text.split_once('/') {
        Some((DOCKER_HUB_LEGACY, remainder)) => (DOCKER_HUB, remainder),
        Some((first, remainder)) if is_domain(first) => (first, remainder),
        Some(_) | None => (DOCKER_HUB, text),
    };
    if domain == DOCKER_HUB && !remainder.contains('/') {
        (domain, format!("{OFFICIAL}{remainder}"))
    } else {
        (domain, remainder.to_owned())
    }
}

type Remote<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// `remote ::= remote_name (":" tag_name)? ("@" digest)?`
fn remote(text: &str) -> IResult<&str, Remote<'_>> {
    let digest = preceded(char('@'), verify(rest, |digest: &str| digest.contains(':')));
    all_consuming((remote_name, opt(preceded(char(':'), tag_name)), opt(digest))).parse(text)
}

/// `remote_name ::= path_component ("/" path_component)*`
fn remote_name(text: &str) -> IResult<&str, &str> {
    recognize(separated_list1(char('/'), path_component)).parse(text)
}

/// `path_component ::= alpha_numeric (separator alpha_numeric)*`
fn path_component(text: &str) -> IResult<&str, &str> {
    recognize((alpha_numeric, many0_count((separator, alpha_numeric)))).parse(text)
}

/// `alpha_numeric ::= [a-z0-9]+`
fn alpha_numeric(text: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())(text)
}

/// `separator ::= "." | "_" | "__" | "-"+`
fn separator(text: &str) -> IResult<&str, &str> {
    alt((tag("."), tag("__"), tag("_"), recognize(many1_count(char('-'))))).parse(text)
}

/// `tag_name ::= [A-Za-z0-9_] [A-Za-z0-9_.-]*`
///
/// At most 128 characters.
fn tag_name(text: &str) -> IResult<&str, &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let more = move |c: char| word(c) || matches!(c, '.' | '-');
    recognize((take_while_m_n(1, 1, word), take_while_m_n(0, 127, more))).parse(text)
}

/// `host_and_port ::= (domain_name | "[" [0-9A-Fa-f:]+ "]") (":" [0-9]+)?`
fn host_and_port(text: &str) -> IResult<&str, &str> {
    let address = take_while1(|c: char| c.is_ascii_hexdigit() || c == ':');
    let bracketed = delimited(char('['), address, char(']'));
    recognize((alt((domain_name, bracketed)), opt((char(':'), digit1)))).parse(text)
}

/// `domain_name ::= domain_component ("." domain_component)*`
fn domain_name(text: &str) -> IResult<&str, &str> {
    recognize(separated_list1(char('.'), domain_component)).parse(text)
}

/// `domain_component ::= [A-Za-z0-9] ([A-Za-z0-9-]* [A-Za-z0-9])?`
fn domain_component(text: &str) -> IResult<&str, &str> {
    let component = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-');
    verify(component, |it: &str| !it.starts_with('-') && !it.ends_with('-')).parse(text)
}

#[cfg(test)]
mod tests;
