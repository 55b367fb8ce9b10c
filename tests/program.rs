//! kiln's own program: static, with no loader and no libraries.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

const LOADER: u32 = 3;
const DYNAMIC: u32 = 2;
const NEEDED: u64 = 1;

fn number(bytes: &[u8], at: u64, size: usize) -> u64 {
    let at = usize::try_from(at).unwrap();
    let mut number = [0; 8];
    number[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(number)
}

/// The kinds of a 64-bit little-endian ELF file's program headers, and how many libraries it needs.
fn linkage(path: &Path) -> (Vec<u32>, usize) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..6], b"\x7fELF\x02\x01", "{}", path.display());
    let (table, size, count) =
        (number(&bytes, 32, 8), number(&bytes, 54, 2), number(&bytes, 56, 2));
    let headers = (0..count).map(|index| table + index * size);
    let mut kinds = Vec::new();
    let mut needed = 0;
    for header in headers {
        let kind = u32::try_from(number(&bytes, header, 4)).unwrap();
        kinds.push(kind);
        if kind == DYNAMIC {
            let (at, length) = (number(&bytes, header + 8, 8), number(&bytes, header + 32, 8));
            let entries = (at..at + length).step_by(16);
            needed += entries.filter(|&entry| number(&bytes, entry, 8) == NEEDED).count();
        }
    }
    (kinds, needed)
}

#[test]
fn kiln_is_static() {
    let (kinds, needed) = linkage(Path::new(env!("CARGO_BIN_EXE_kiln")));
    assert!(!kinds.contains(&LOADER), "{kinds:?}");
    assert_eq!(needed, 0);
    // The test's own shell is not, which shows that it would be noticed.
    let (kinds, needed) = linkage(&std::fs::canonicalize("/bin/sh").unwrap());
    assert!(kinds.contains(&LOADER) && needed > 0, "{kinds:?}");
}
