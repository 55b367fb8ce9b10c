//! The contexts that are built: always the same bytes for the same size and salt.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// A base of busybox and its links.
pub(crate) const BASE: &str =
    "FROM scratch\nCOPY bin /bin\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

/// Makes a context with busybox and a Dockerfile.
pub(crate) fn context(at: PathBuf, dockerfile: &str) -> PathBuf {
    fs::create_dir_all(at.join("bin")).unwrap();
    fs::copy("/bin/busybox", at.join("bin/busybox"))
        .expect("busybox is installed: apt-get install busybox-static");
    fs::write(at.join("Dockerfile"), dockerfile).unwrap();
    at
}

/// Makes files of so many bytes each in directories of a hundred.
pub(crate) fn files(at: &Path, count: usize, bytes: usize, salt: usize) {
    for directory in 0..count.div_ceil(100) {
        fs::create_dir_all(at.join(format!("d{directory}"))).unwrap();
    }
    for file in 0..count {
        let path = at.join(format!("d{}/f{file}", file / 100));
        fs::write(path, text(bytes, (file * 31 + salt) as u64)).unwrap();
    }
}

/// Makes one file of so many megabytes, which compresses to about a third.
pub(crate) fn large_file(at: &Path, megabytes: usize, salt: usize) {
    let mut file = BufWriter::new(File::create(at).unwrap());
    for part in 0..megabytes {
        file.write_all(&text(1 << 20, (part * 31 + salt) as u64)).unwrap();
    }
}

/// Words that a generator chooses, Knuth's MMIX one.
fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d;
    let mut text = String::with_capacity(bytes + 32);
    while text.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        writeln!(text, "{:x} line {} of it", state >> 44, state >> 56).unwrap();
    }
    text.truncate(bytes);
    text.into_bytes()
}
