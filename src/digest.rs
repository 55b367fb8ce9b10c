//! Digests, and the only place where bytes are hashed.
//!
//! Each kind of digest is its own type with no conversion between them, so that the hash of a compressed blob
//! cannot be taken for the hash of the layer in it. `Digest`, `DiffId` and `ChainId` are SHA-256 and leave the
//! machine (OCI image specification, "Digests" and "Layer DiffID", "Layer ChainID"); `ContentDigest` and
//! `CacheKey` are BLAKE3, four times faster, and never do.
//!
//! This file knows nothing of what is hashed; encodings live beside the types they encode.

mod pieces;

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

pub use pieces::Piece;

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum DigestError {
    /// The algorithm is not one that kiln verifies.
    #[error("unsupported digest algorithm `{0}`")]
    Algorithm(String),
    /// The text is not `algorithm:hex` with 64 lower-case hexadecimal digits.
    #[error("malformed digest `{0}`: expected `sha256:` and 64 hexadecimal digits")]
    Malformed(String),
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $algorithm:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Makes the digest of 32 bytes that were hashed elsewhere.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Returns the 64 hexadecimal digits without the algorithm.
            pub fn hex(&self) -> String {
                self.to_string()[$algorithm.len() + 1..].to_owned()
            }

            /// Parses the 64 hexadecimal digits alone.
            pub fn from_hex(text: &str) -> Result<Self, DigestError> {
                parse_hex(text).map(Self).ok_or_else(|| DigestError::Malformed(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($algorithm, ":"))?;
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                let malformed = || DigestError::Malformed(text.to_owned());
                let (algorithm, hex) = text.split_once(':').ok_or_else(malformed)?;
                if algorithm != $algorithm {
                    return Err(DigestError::Algorithm(algorithm.to_owned()));
                }
                parse_hex(hex).map(Self).ok_or_else(malformed)
            }
        }
    };
}

digest_type!(
    /// The SHA-256 of a blob as it is stored and sent.
    Digest,
    "sha256"
);
digest_type!(
    /// The SHA-256 of a layer's uncompressed tar.
    DiffId,
    "sha256"
);
digest_type!(
    /// The identity of a stack of layers (OCI image specification, "Layer ChainID").
    ChainId,
    "sha256"
);
digest_type!(
    /// The identity of a file's bytes or of a whole tree; BLAKE3.
    ContentDigest,
    "blake3"
);
digest_type!(
    /// The key of a build step in the cache; BLAKE3 over an encoding documented in `cache/key.rs`.
    CacheKey,
    "blake3"
);

impl Digest {
    /// Hashes bytes that are already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl ContentDigest {
    /// Hashes bytes that are already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl ChainId {
    /// Returns the chain id of a stack whose lowest layer is `layer`, or of `layer` on top of `parent`.
    pub fn of(parent: Option<ChainId>, layer: DiffId) -> Self {
        match parent {
            None => Self(layer.0),
            Some(parent) => Self(Sha256::digest(format!("{parent} {layer}")).into()),
        }
    }

    /// Returns the chain ids of a stack, that of the lowest layer first.
    pub fn of_each<'a>(layers: impl IntoIterator<Item = &'a DiffId>) -> impl Iterator<Item = Self> {
        layers.into_iter().scan(None, |chain, layer| {
            let next = Self::of(*chain, *layer);
            *chain = Some(next);
            *chain
        })
    }
}

/// A SHA-256 in progress.
#[derive(Clone, Default)]
pub struct Sha256Hasher(Sha256);

impl Sha256Hasher {
    /// Starts an empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Ends the hash as the digest of a blob.
    pub fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    /// Ends the hash as the diff id of a layer; right only for the bytes of an uncompressed tar.
    pub fn diff_id(self) -> DiffId {
        DiffId(self.0.finalize().into())
    }
}

/// A BLAKE3 in progress.
#[derive(Clone, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Starts an empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds a length-prefixed field, so that neighbouring fields cannot be confused.
    pub fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Ends the hash as the digest of content.
    pub fn content(self) -> ContentDigest {
        ContentDigest(*self.0.finalize().as_bytes())
    }

    /// Ends the hash as a cache key.
    pub fn key(self) -> CacheKey {
        CacheKey(*self.0.finalize().as_bytes())
    }
}

/// Passes writes on to `inner` and hashes what was really written, counting the bytes.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Sha256Hasher,
    written: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Starts hashing what goes through to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256Hasher::new(), written: 0 }
    }

    /// Returns the inner writer, the hash in progress and the number of bytes.
    pub fn into_parts(self) -> (W, Sha256Hasher, u64) {
        (self.inner, self.hasher, self.written)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Passes reads on from `inner` and hashes them, counting the bytes.
///
/// Nothing read through it may be trusted until the end was reached and the digest compared.
pub struct HashingReader<R> {
    inner: R,
    hasher: Sha256Hasher,
    read: u64,
}

impl<R: Read> HashingReader<R> {
    /// Starts hashing what comes out of `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256Hasher::new(), read: 0 }
    }

    /// Returns the digest of what was read so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().digest()
    }

    /// Returns the inner reader, the hash in progress and the number of bytes.
    pub fn into_parts(self) -> (R, Sha256Hasher, u64) {
        (self.inner, self.hasher, self.read)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.read += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_print_and_parse() {
        let empty = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.to_string(), text);
        assert_eq!(text.parse(), Ok(empty));
        assert_eq!(Digest::from_hex(&empty.hex()), Ok(empty));
        assert_eq!("sha512:00".parse::<Digest>(), Err(DigestError::Algorithm("sha512".into())));
        assert!("sha256:ABC".parse::<Digest>().is_err());
    }

    #[test]
    fn a_chain_of_one_layer_is_its_diff_id() {
        let layer = DiffId::from_bytes([7; 32]);
        let one = ChainId::of(None, layer);
        assert_eq!(one.as_bytes(), layer.as_bytes());
        assert_ne!(ChainId::of(Some(one), layer), one);
    }

    #[test]
    fn hashing_reader_and_writer_agree() {
        let mut writer = HashingWriter::new(Vec::new());
        writer.write_all(b"abc").unwrap();
        let mut reader = HashingReader::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(writer.into_parts().1.digest(), reader.into_parts().1.digest());
    }
}
