//! Lists that a registry gives page by page: the tags of a repository.
//!
//! The next page is where the `Link` header says, but on the same registry whatever host it names: registries behind a
//! proxy do not know their own. A list ends: a page that was seen before, too many pages, or several that bring nothing
//! are errors, not patience.

use std::collections::HashSet;

use serde::Deserialize;

use super::RegistryError;
use super::agent::Response;
use super::client::{Call, Client};
use super::url::{join, on_origin_of};
use crate::oci::Reference;

/// How many entries are asked for at once; more than 1000 is refused by some.
const PAGE: usize = 1000;

/// How many pages a list may have.
const PAGES: usize = 10_000;

/// How many pages in a row may bring nothing.
const EMPTY: usize = 10;

/// How large a page may be; old registries send all at once.
const PAGE_LIMIT: u64 = 32 << 20;

/// What is listed.
pub(super) struct List<'a> {
    pub(super) repository: &'a Reference,
    /// `tags` or `referrers`.
    pub(super) name: &'static str,
    pub(super) path: String,
}

/// One page as it came.
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    /// What the registry has left out, as `OCI-Filters-Applied` says.
    pub(super) filters: String,
}

/// Whether there should be more pages.
pub(super) enum More {
    Yes,
    /// The page brought nothing.
    Nothing,
    /// It is enough.
    No,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// Returns the tags of a repository in the registry's order, the first `limit` of them.
    pub fn tags(&self, repository: &Reference, limit: usize) -> Result<Vec<String>, RegistryError> {
        let list = |path| List { repository, name: "tags", path };
        let paged = list(format!("tags/list?n={}", PAGE.min(limit.max(1))));
        match self.listed_tags(&paged, limit) {
            // It knows no pages, or none of this size.
            Err(RegistryError::Status { status: 400, .. }) => {
                self.listed_tags(&list("tags/list".to_owned()), limit)
            }
            tags => tags,
        }
    }

    fn listed_tags(&self, list: &List<'_>, limit: usize) -> Result<Vec<String>, RegistryError> {
        let mut all = Vec::new();
        self.pages(list, &mut |page| {
            let tags: Tags =
                serde_json::from_slice(&page.bytes).map_err(|error| list.error(error))?;
            let tags = tags.tags.unwrap_or_default();
            let nothing = tags.is_empty();
            all.extend(tags);
            Ok(match (all.len() >= limit, nothing) {
                (true, _) => More::No,
                (false, true) => More::Nothing,
                (false, false) => More::Yes,
            })
        })?;
        all.truncate(limit);
        Ok(all)
    }

    /// Reads page after page.
    pub(super) fn pages(
        &self,
        list: &List<'_>,
        take: &mut dyn FnMut(Page) -> Result<More, RegistryError>,
    ) -> Result<(), RegistryError> {
        let mut next = list.path.clone();
        let (mut seen, mut empty) = (HashSet::new(), 0);
        while seen.len() < PAGES {
            if !seen.insert(next.clone()) {
                return Err(list.error("it leads back to where it was"));
            }
            let call = Call {
                headers: &[("accept", "application/json, application/vnd.oci.image.index.v1+json")],
                ..Call::get(list.repository, &next)
            };
            let (page, link) = self.retrying(|| {
                let response = self.expect(&call, &[200])?;
                let link = following(&response);
                let header = |name| response.header(name).unwrap_or_default().to_owned();
                let (media_type, filters) = (header("content-type"), header("oci-filters-applied"));
                Ok((Page { media_type, filters, bytes: response.read_all(PAGE_LIMIT)? }, link))
            })?;
            empty = match take(page)? {
                More::Yes => 0,
                More::Nothing => empty + 1,
                More::No => return Ok(()),
            };
            next = match link {
                None => return Ok(()),
                Some(_) if empty >= EMPTY => break,
                Some(next) => next,
            };
        }
        Err(list.error("it does not end"))
    }
}

impl List<'_> {
    /// Says what is wrong with the list.
    pub(super) fn error(&self, reason: impl ToString) -> RegistryError {
        RegistryError::List {
            list: self.name,
            repository: self.repository.familiar_name(),
            reason: reason.to_string(),
        }
    }
}

/// Returns where the next page is, if there is one.
fn following(response: &Response) -> Option<String> {
    let link = response.headers_of("link").find_map(next_of)?;
    on_origin_of(&response.url, &join(&response.url, link)?)
}

/// Returns the target of the link whose relation is `next`: `</v2/x/tags/list?n=2&last=b>; rel="next"`.
fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (header, expected) in [
            ("</a?n=1>; rel=\"next\"", Some("/a?n=1")),
            ("</a>;rel=next", Some("/a")),
            ("</p>; rel=\"prev\", <b>; title=x; REL=\"Next\"", Some("b")),
            ("</p>; rel=\"prev\"", None),
            ("/a; rel=next", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_of(header), expected, "{header}");
        }
    }
}
