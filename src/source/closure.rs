//! An image with everything that it names: what is copied when an image is copied.
//!
//! The documents are read, and verified, while it is found out; the blobs stay where they are. How much one name may
//! lead to is bounded.

use std::collections::BTreeSet;

use super::SourceError;
use super::blobs::Blobs;
use crate::digest::Digest;
use crate::oci::{Descriptor, Document, Index, Platform};

/// How many indexes may stand above a manifest.
const DEEPEST: usize = 4;

/// How many documents one name may lead to.
const MOST_DOCUMENTS: usize = 1000;

/// How many bytes of documents one name may lead to.
const MOST_BYTES: usize = 64 << 20;

/// An image, an index with its images, or an artifact, with everything below it.
#[derive(Debug, Clone)]
pub struct Closure {
    /// What was asked for.
    pub root: Descriptor,
    /// Manifests and indexes with their bytes, what is named before what names it; the last is the root.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Configs and layers, each once, in the order in which they are named.
    pub blobs: Vec<Descriptor>,
}

/// Which images of an index are taken.
#[derive(Debug, Clone)]
pub enum Selection {
    /// All of them.
    All,
    /// The one that suits a platform best; the index itself is left behind.
    Platform(Box<Platform>),
    /// Those that the place has. If that is one only it is taken in place of the index, of several a new index is made.
    Present,
}

impl Closure {
    /// Finds out what belongs to `root`.
    pub fn of(
        place: &dyn Blobs,
        root: &Descriptor,
        selection: &Selection,
    ) -> Result<Self, SourceError> {
        let mut finder = Finder { place, selection, seen: BTreeSet::new(), bytes: 0 };
        let mut found = Self { root: root.clone(), documents: Vec::new(), blobs: Vec::new() };
        found.root = finder.take(root, 0, &mut found)?;
        if found.root.digest != root.digest {
            // What it is for is said by an index, of which nothing is left.
            found.root.platform = None;
        }
        found.drop_left_out();
        Ok(found)
    }

    /// Returns the manifests with what they say.
    pub fn manifests(&self) -> impl Iterator<Item = (&Descriptor, crate::oci::Manifest)> {
        self.documents.iter().filter_map(|(descriptor, bytes)| match Document::parse(bytes) {
            Ok(Document::Manifest(manifest)) => Some((descriptor, manifest)),
            _ => None,
        })
    }
}

struct Finder<'a> {
    place: &'a dyn Blobs,
    selection: &'a Selection,
    seen: BTreeSet<Digest>,
    bytes: usize,
}

impl Finder<'_> {
    /// Takes a document with what is below it and returns what stands in its place.
    fn take(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
        found: &mut Closure,
    ) -> Result<Descriptor, SourceError> {
        if found.documents.iter().any(|(known, _)| known.digest == descriptor.digest) {
            return Ok(descriptor.clone());
        }
        let bytes = self.place.document(descriptor)?;
        self.bytes += bytes.len();
        if depth > DEEPEST || found.documents.len() >= MOST_DOCUMENTS || self.bytes > MOST_BYTES {
            return Err(SourceError::ImageNotFound {
                reference: descriptor.digest.to_string(),
                hint: Some("its indexes are nested too deeply or name too much".into()),
            });
        }
        match Document::parse(&bytes)? {
            Document::Manifest(manifest) => {
                for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
                    if self.seen.insert(blob.digest) {
                        found.blobs.push(blob.clone());
                    }
                }
                found.documents.push((descriptor.clone(), bytes));
                Ok(descriptor.clone())
            }
            Document::Index(index) => self.take_index(descriptor, (index, bytes), depth, found),
        }
    }

    fn take_index(
        &mut self,
        descriptor: &Descriptor,
        (index, bytes): (Index, Vec<u8>),
        depth: usize,
        found: &mut Closure,
    ) -> Result<Descriptor, SourceError> {
        if let Selection::Platform(wanted) = self.selection {
            let chosen = index.select(wanted)?.clone();
            return self.take(&chosen, depth + 1, found);
        }
        let mut taken = Vec::new();
        for child in &index.manifests {
            match self.take(child, depth + 1, found) {
                Ok(child) => taken.push(child),
                Err(error) if is_left_out(&error) && self.leaves_out() => {}
                Err(error) => return Err(error),
            }
        }
        if taken.len() == index.manifests.len() && taken == index.manifests {
            found.documents.push((descriptor.clone(), bytes));
            return Ok(descriptor.clone());
        }
        let images = |it: &&Descriptor| it.platform.as_ref().is_none_or(|p| p.os != "unknown");
        match taken.iter().filter(images).collect::<Vec<_>>().as_slice() {
            [] => Err(SourceError::NothingOf(descriptor.digest)),
            [only] => Ok((*only).clone()),
            _ => {
                let mut index = index;
                index.manifests = taken;
                let bytes = index.to_bytes();
                let made = Descriptor::of(descriptor.media_type.clone(), &bytes);
                found.documents.push((made.clone(), bytes));
                Ok(made)
            }
        }
    }

    fn leaves_out(&self) -> bool {
        matches!(self.selection, Selection::Present)
    }
}

/// Returns whether it says that something is not here, or that of an index nothing is.
fn is_left_out(error: &SourceError) -> bool {
    error.is_missing() || matches!(error, SourceError::NothingOf(_))
}

impl Closure {
    /// Drops what was found and is not below the root: what else an index has that is not taken itself.
    fn drop_left_out(&mut self) {
        let (mut documents, mut blobs) = (BTreeSet::from([self.root.digest]), BTreeSet::new());
        // What names comes after what it names.
        for (document, bytes) in self.documents.iter().rev() {
            if !documents.contains(&document.digest) {
                continue;
            }
            match Document::parse(bytes) {
                Ok(Document::Index(index)) => {
                    documents.extend(index.manifests.iter().map(|child| child.digest));
                }
                Ok(Document::Manifest(manifest)) => {
                    let named = [&manifest.config].into_iter().chain(&manifest.layers);
                    blobs.extend(named.map(|blob| blob.digest));
                }
                Err(_) => {}
            }
        }
        self.documents.retain(|(document, _)| documents.contains(&document.digest));
        self.blobs.retain(|blob| blobs.contains(&blob.digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    use crate::oci::{Content, Family, Manifest, media_type};
    use crate::store::StoreError;

    /// Documents alone.
    #[derive(Default)]
    struct Documents(BTreeMap<Digest, Vec<u8>>);

    impl Documents {
        fn add(&mut self, content: Content, bytes: Vec<u8>) -> Descriptor {
            let made = Descriptor::of(media_type(content, Family::Oci).unwrap(), &bytes);
            self.0.insert(made.digest, bytes);
            made
        }

        fn image(&mut self, platform: &str) -> Descriptor {
            let kind = |content| media_type(content, Family::Oci).unwrap();
            let config = Descriptor::of(kind(Content::Config), platform.as_bytes());
            let mut made = self
                .add(Content::Manifest, Manifest::new(Family::Oci, config, Vec::new()).to_bytes());
            made.platform = Some(Platform::parse(platform).unwrap());
            made
        }

        fn index(&mut self, children: &[&Descriptor]) -> Descriptor {
            let children = children.iter().map(|child| (*child).clone()).collect();
            self.add(Content::Index, Index::new(Family::Oci, children).to_bytes())
        }
    }

    impl Blobs for Documents {
        fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
            let found = self.0.get(&descriptor.digest).cloned();
            found.ok_or_else(|| StoreError::Missing(descriptor.digest).into())
        }

        fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
            Err(StoreError::Missing(descriptor.digest).into())
        }
    }

    fn named(closure: &Closure) -> Vec<Digest> {
        closure.documents.iter().map(|(document, _)| document.digest).collect()
    }

    #[test]
    fn what_an_index_in_an_index_lacks_takes_nothing_from_its_neighbours() {
        let mut place = Documents::default();
        let [first, second, gone] =
            ["linux/amd64", "linux/arm64", "linux/386"].map(|platform| place.image(platform));
        let inner = place.index(&[&second, &gone]);
        let outer = place.index(&[&first, &inner]);
        place.0.remove(&gone.digest);
        let closure = Closure::of(&place, &outer, &Selection::Present).unwrap();
        assert_eq!(named(&closure), [first.digest, second.digest, closure.root.digest]);
        assert_eq!(closure.blobs.len(), 2);
        let made = Index::parse(&closure.documents[2].1).unwrap();
        assert_eq!(made.manifests, [first.clone(), second.clone()]);
        // An index of which nothing is here is not here.
        place.0.remove(&second.digest);
        let closure = Closure::of(&place, &outer, &Selection::Present).unwrap();
        assert_eq!(named(&closure), [first.digest]);
        assert_eq!((closure.root.digest, closure.blobs.len()), (first.digest, 1));
        place.0.remove(&first.digest);
        let nothing = Closure::of(&place, &outer, &Selection::Present).unwrap_err();
        assert!(nothing.hint().unwrap().contains("none of its images is here"));
    }
}
