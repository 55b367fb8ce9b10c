//! One layer of an image on its way in: from its place, kept as a blob, unpacked.

use std::io::Read;

use super::super::blobs::verified;
use super::super::names::remember_place;
use super::super::unpacking::{Counted, Tee, Unpacked, explain, unpack_verified};
use super::{Image, Images, Origin, SourceError, layout};
use crate::digest::Digest;
use crate::fs;
use crate::store::StoreError;

/// Whether a layer has come with wrong bytes already.
#[derive(Clone, Copy)]
enum Tries {
    First,
    Again,
}

impl<'a> Images<'a> {
    /// Fetches and unpacks a layer. One that comes from a registry with wrong bytes is fetched once more: a proxy on the
    /// way may have kept or made them.
    pub(super) fn layer(
        &self,
        image: &Image,
        name: &str,
        index: usize,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> Result<Unpacked, SourceError> {
        let job = (image, name, index);
        match self.unpack_layer(job, Tries::First, progress) {
            Err(SourceError::Registry(error)) if error.is_corruption() => {
                self.unpack_layer(job, Tries::Again, progress)
            }
            done => done,
        }
    }

    fn unpack_layer(
        &self,
        (image, name, index): (&Image, &str, usize),
        tries: Tries,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> Result<Unpacked, SourceError> {
        let descriptor = &image.manifest.layers[index];
        let bad =
            |problem: String| SourceError::BadLayer { index, image: name.to_owned(), problem };
        let short = descriptor.digest.hex()[..12].to_owned();
        let report = |done: u64| progress(&short, done, descriptor.size);
        let reader: Box<dyn Read + Send + '_> = match self.store.blob_size(&descriptor.digest) {
            Some(_) => {
                let blob = self.store.open_blob(&descriptor.digest)?;
                verified(blob, descriptor, other_bytes((index, name), descriptor.digest))?
            }
            None => Box::new(self.tee((image, name, index), tries)?),
        };
        let counted = Counted { inner: reader, count: 0, report: &report, cancel: &self.cancel };
        let files = self.store.scratch_dir()?;
        let unpacked = unpack_verified(counted, &files, None);
        let (changes, diff_id) = match unpacked {
            Ok(done) => done,
            Err(_) if self.cancel.is_canceled() => return Err(SourceError::Canceled),
            Err(error) => return Err(explain(error, &bad)),
        };
        let expected = image.config.rootfs.diff_ids[index];
        if diff_id != expected {
            return Err(bad(format!("has the diff id `{diff_id}`, not `{expected}`")));
        }
        if let Origin::Registry(repository) = &image.origin {
            remember_place(self.store, descriptor.digest, repository)?;
        }
        Ok(Unpacked { files, changes, diff_id })
    }

    /// Opens a layer that the store lacks, keeping a copy of what is read.
    fn tee(
        &self,
        (image, name, index): (&Image, &str, usize),
        tries: Tries,
    ) -> Result<Tee<'a>, SourceError> {
        let descriptor = &image.manifest.layers[index];
        let inner: Box<dyn Read + Send> = match &image.origin {
            Origin::Store => return Err(StoreError::Missing(descriptor.digest).into()),
            Origin::Registry(repository) => Box::new(match tries {
                Tries::First => self.client.blob(repository, descriptor)?,
                Tries::Again => self.client.blob_again(repository, descriptor)?,
            }),
            Origin::Layout(path) => {
                let path = layout::blob(path, &descriptor.digest);
                let wrong = other_bytes((index, name), descriptor.digest);
                verified(fs::open_regular(&path)?, descriptor, wrong)?
            }
        };
        Ok(Tee { inner, blob: Some(self.store.new_copy(&descriptor.digest)?) })
    }
}

/// Says that the bytes of a layer have another digest.
fn other_bytes(
    (index, image): (usize, &str),
    expected: Digest,
) -> impl Fn(Digest) -> SourceError + Send + use<> {
    let image = image.to_owned();
    move |actual| SourceError::BadLayer {
        index,
        image: image.clone(),
        problem: format!("has the digest `{actual}`, not `{expected}`"),
    }
}
