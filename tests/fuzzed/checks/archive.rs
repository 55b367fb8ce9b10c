//! Bytes as they come: a tar, perhaps compressed. Headers get their checksums, so that damage reaches what lies behind
//! them.

use std::io::Read as _;

use kiln::layer::{Limits, begins_archive, decoder, file_bytes, is_archive};

use super::tarball::sum;
use super::unpack::{check_archive, check_layer};

/// What is read of a decoder.
const MOST: u64 = 1 << 18;

/// Checks bytes as a tar, with its checksums made right, and as whatever they are compressed as.
pub(crate) fn check(data: &[u8]) {
    let mut plain = Vec::new();
    if let Ok(decoder) = decoder(data) {
        // What comes before damage is read all the same.
        let _ = decoder.take(MOST).read_to_end(&mut plain);
    }
    assert!(plain.len() as u64 <= MOST);
    repair(&mut plain);
    let begins = plain.first_chunk::<512>().is_some_and(|block| begins_archive(block));
    if is_archive(&*plain) {
        assert!(begins, "an archive does not begin like one");
    }
    let limits = Limits { entries: 64, bytes: 1 << 16, depth: 12 };
    let measured = file_bytes(&*plain, limits);
    if check_layer(&plain, None).is_some() {
        assert!(measured.is_ok(), "what can be unpacked cannot be measured");
    }
    check_archive(&plain);
}

/// Gives whatever looks like a header its checksum.
fn repair(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            sum(block);
        }
    }
}
