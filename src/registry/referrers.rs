//! What is about an image: signatures, attestations, lists of its parts (OCI 1.1 referrers).
//!
//! A registry that has the referrers API keeps the list itself, and says so when a manifest with a `subject` is stored
//! (`OCI-Subject`). In any other the list is an index with the tag `sha256-<hex>`, which clients keep: it is read,
//! completed, stored, and read again, because another client may have done the same meanwhile.

use super::RegistryError;
use super::client::Client;
use super::lists::{List, More};
use super::url::encode;
use crate::digest::Digest;
use crate::oci::{Content, Descriptor, Document, Family, Index, MediaType, Reference, content};

/// How often a list that others change as well is written.
const WRITES: u32 = 5;

impl Client {
    /// Returns what is about a manifest of a repository; all of it, or what has the type.
    pub fn referrers(
        &self,
        repository: &Reference,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let is_wanted = |it: &Descriptor| match artifact_type {
            Some(wanted) => it.artifact_type.as_deref() == Some(wanted),
            None => true,
        };
        let listed = match self.listed_referrers(repository, subject, artifact_type)? {
            Some(listed) => listed,
            None => self.tagged_referrers(repository, subject)?,
        };
        Ok(listed.into_iter().filter(is_wanted).collect())
    }

    /// Asks the referrers API; `None`: there is none.
    fn listed_referrers(
        &self,
        repository: &Reference,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let filter = artifact_type.map(|it| format!("?artifactType={}", encode(it)));
        let path = format!("referrers/{subject}{}", filter.unwrap_or_default());
        let list = List { repository, name: "referrers", path };
        let (mut all, mut known) = (Vec::new(), true);
        let read = self.pages(&list, &mut |page| {
            // Some answer whatever they do not know with a web page.
            let media_type = page.media_type.split(';').next().unwrap_or_default().trim();
            if content(&MediaType::from(media_type)) != Content::Index {
                known = false;
                return Ok(More::No);
            }
            let index = Index::parse(&page.bytes).map_err(|error| list.error(error))?;
            let filtered = page.filters.split(',').any(|it| it.trim() == "artifactType");
            let nothing = index.manifests.is_empty();
            all.extend(index.manifests.into_iter().map(|mut it| {
                // Filtered, it need not say again what it is.
                if filtered && it.artifact_type.is_none() {
                    it.artifact_type = artifact_type.map(str::to_owned);
                }
                it
            }));
            Ok(if nothing { More::Nothing } else { More::Yes })
        });
        match read {
            Ok(()) => Ok(known.then_some(all)),
            Err(RegistryError::NotFound(_) | RegistryError::Status { status: 400 | 405, .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the list that clients keep.
    fn tagged_referrers(
        &self,
        repository: &Reference,
        subject: Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        match self.resolve(&tagged(repository, subject)) {
            Ok(fetched) => match fetched.document {
                Document::Index(index) => Ok(index.manifests),
                // Somebody uses the name for something else.
                Document::Manifest(_) => Ok(Vec::new()),
            },
            Err(RegistryError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes a manifest that was just stored known as being about its subject, if it has one and the registry does not
    /// look for that itself.
    pub(super) fn add_referrer(
        &self,
        repository: &Reference,
        document: &Document,
        mut descriptor: Descriptor,
    ) -> Result<(), RegistryError> {
        let (subject, artifact_type, annotations) = match document {
            Document::Manifest(it) => {
                let config = it.config.media_type.to_string();
                (&it.subject, it.artifact_type.clone().or(Some(config)), &it.annotations)
            }
            Document::Index(it) => (&it.subject, None, &it.annotations),
        };
        let Some(subject) = subject.as_ref().map(|subject| subject.digest) else { return Ok(()) };
        if self.listed_referrers(repository, subject, None)?.is_some() {
            return Ok(());
        }
        descriptor.artifact_type = artifact_type;
        descriptor.annotations = annotations.clone();
        let name = tagged(repository, subject);
        for attempt in 1.. {
            let mut all = self.tagged_referrers(repository, subject)?;
            if all.iter().any(|it| it.digest == descriptor.digest) {
                return Ok(());
            }
            if attempt > WRITES {
                break;
            }
            all.push(descriptor.clone());
            let index = Index::new(Family::Oci, all).to_bytes();
            self.store_manifest(&name, &MediaType::ImageIndex, &index)?;
        }
        let list = List { repository, name: "referrers", path: String::new() };
        Err(list.error("what is added to it does not stay"))
    }
}

/// Names the list that clients keep.
fn tagged(repository: &Reference, subject: Digest) -> Reference {
    let tag = subject.to_string().replace(':', "-");
    repository.with_tag(&tag).expect("a digest with a dash is a tag")
}
