//! A reader of archives as one would write it without thinking: names are joined, links are followed. What it changes
//! beside the root shows that an archive means harm, and that the tests would notice.
//!
//! It goes nowhere but into the yard: what would lead further out is left alone.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Unpacks a tar into `root`, anywhere in `yard`. What cannot be done is left out.
pub(super) fn unpack(tar: &[u8], root: &Path, yard: &Path) {
    let mut archive = tar::Archive::new(tar);
    let Ok(entries) = archive.entries() else { return };
    for entry in entries {
        let Ok(mut entry) = entry else { return };
        let name = entry.path_bytes().into_owned();
        let Some(path) = place(root, &name, yard) else { continue };
        let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
        let target = String::from_utf8_lossy(&target).into_owned();
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(gone) = file_name.as_deref().and_then(|name| name.strip_prefix(".wh.")) {
            let gone = path.with_file_name("").join(gone);
            let _ = (fs::remove_file(&gone), fs::remove_dir(&gone));
            continue;
        }
        let _ = match entry.header().entry_type().as_byte() {
            b'5' => fs::create_dir_all(&path),
            b'2' => symlink(target, &path),
            b'1' => match place(root, target.as_bytes(), yard) {
                Some(from) => fs::hard_link(from, &path),
                None => Ok(()),
            },
            b'0' | 0 => write(&mut entry, &path, yard),
            _ => Ok(()),
        };
    }
}

fn write(content: &mut impl Read, path: &Path, yard: &Path) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    content.take(1 << 16).read_to_end(&mut bytes)?;
    match fs::canonicalize(path) {
        Ok(found) if !found.starts_with(yard) => Ok(()),
        _ => fs::write(path, bytes),
    }
}

/// Where a name leads, links followed; nothing if that is out of the yard or nowhere.
fn place(root: &Path, name: &[u8], yard: &Path) -> Option<PathBuf> {
    let name = String::from_utf8_lossy(name).into_owned();
    let path = root.join(name.trim_start_matches('/'));
    let parent = path.parent()?;
    if fs::canonicalize(parent).is_err() && !name.contains("..") {
        fs::create_dir_all(parent).ok()?;
    }
    let parent = fs::canonicalize(parent).ok()?;
    let last = path.components().next_back()?;
    parent.starts_with(yard).then(|| parent.join(last))
}
