//! What a file system may not hold of a file, kept beside the file: whose it is, and which device.
//!
//! Without a range of subordinate ids only one owner exists on the disk, and nobody but root makes devices. A file or
//! directory that belongs to somebody else carries the attribute [`ATTRIBUTE`], which copying up, renaming and linking
//! take along as they take its mode; a file without it is as the file system says. The attribute never gets into a
//! layer, and layers cannot bring it. Whoever may write to a file can write it, so it counts only on what belongs to
//! whom kiln runs as: in a step that is root, where users are told apart by the kernel.
//!
//! The text is `UID:GID`, for a device `UID:GID:c:MAJOR:MINOR` (`b` for a block device), all in decimal.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Stat, StatxFlags, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The name of the attribute.
pub const ATTRIBUTE: &str = "user.kiln.owner";

/// What a file is said to be, whatever its inode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ownership {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The device that an empty file stands for.
    pub device: Option<Device>,
}

/// A device's type and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Whether it is a block device, and not a character device.
    pub is_block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One file of a file system, told from a later one with the same number by the time at which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The inode's number.
    pub inode: u64,
    /// When it was made, seconds and nanoseconds; zeros where the file system does not keep that.
    pub birth: (i64, u32),
}

impl Origin {
    /// Returns that of a name in a directory, links not followed.
    pub fn of(directory: impl AsFd, name: &CStr) -> rustix::io::Result<Self> {
        Self::ask(directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Returns that of what a descriptor refers to.
    pub fn of_open(file: impl AsFd) -> rustix::io::Result<Self> {
        Self::ask(file, c"", AtFlags::EMPTY_PATH)
    }

    fn ask(directory: impl AsFd, name: &CStr, flags: AtFlags) -> rustix::io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = rustix::fs::statx(directory, name, flags, wanted)?;
        let birth = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
        Ok(Self { inode: found.stx_ino, birth })
    }
}

/// What a file that cannot carry the attribute, a link or a pipe, is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Which file.
    pub origin: Origin,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Ownership {
    /// Returns what the attribute holds.
    pub fn to_text(self) -> String {
        let Self { uid, gid, device } = self;
        match device {
            None => format!("{uid}:{gid}"),
            Some(Device { is_block, major, minor }) => {
                let kind = if is_block { 'b' } else { 'c' };
                format!("{uid}:{gid}:{kind}:{major}:{minor}")
            }
        }
    }

    /// Reads what [`Ownership::to_text`] wrote; `None` if it is anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let fields: Vec<&str> = text.split(':').collect();
        let number = |field: &str| {
            field.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.parse().ok()).flatten()
        };
        let device = match fields[..] {
            [_, _] => None,
            [_, _, kind @ ("b" | "c"), major, minor] => {
                let is_block = kind == "b";
                Some(Device { is_block, major: number(major)?, minor: number(minor)? })
            }
            _ => return None,
        };
        Some(Self { uid: number(fields[0])?, gid: number(fields[1])?, device })
    }

    /// Returns what a file of this owner and group says of itself if it may be believed: nobody but root could write it
    /// there, or it says no more than that a file with root's group has another one.
    pub fn believed(self, (owner, group): (u32, u32)) -> Option<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let is_group = self.device.is_none() && self.uid == owner && group == gid;
        (owner == uid || is_group).then_some(self)
    }

    /// Reads the attribute of what a path leads to, links followed; `None` if it has none that counts, or is nothing that
    /// can have one.
    pub fn read(path: &Path) -> rustix::io::Result<Option<Self>> {
        let mut text = [0; 64];
        let said = absent(rustix::fs::getxattr(path, ATTRIBUTE, &mut text), &text)?;
        said.map_or(Ok(None), |said| Ok(said.believed(owner(&rustix::fs::stat(path)?))))
    }

    /// Returns whether files of a directory's file system can carry the attribute.
    pub fn is_carried_in(directory: &Path) -> bool {
        let mut text = [0; 64];
        rustix::fs::getxattr(directory, ATTRIBUTE, &mut text) != Err(Errno::OPNOTSUPP)
    }

    /// The same as [`Ownership::read`], of a link itself.
    pub fn read_link(path: &Path) -> rustix::io::Result<Option<Self>> {
        let mut text = [0; 64];
        let said = absent(rustix::fs::lgetxattr(path, ATTRIBUTE, &mut text), &text)?;
        said.map_or(Ok(None), |said| Ok(said.believed(owner(&rustix::fs::lstat(path)?))))
    }

    /// Writes the attribute of what a path leads to, links followed; what is said to be root's needs none. Returns
    /// whether it can have one: links, pipes and devices cannot, and on some file systems nothing can.
    pub fn write(self, path: &Path) -> rustix::io::Result<bool> {
        let written = if self == Self::default() {
            match rustix::fs::removexattr(path, ATTRIBUTE) {
                Err(Errno::NODATA) => Ok(()),
                removed => removed,
            }
        } else {
            let text = self.to_text();
            rustix::fs::setxattr(path, ATTRIBUTE, text.as_bytes(), XattrFlags::empty())
        };
        match written {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives what a path leads to, links followed, to its owner; where there is no such id in this user namespace, that
    /// is written down, if it can be.
    pub fn give(self, path: &Path) -> rustix::io::Result<()> {
        match rustix::fs::chown(path, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
        {
            Err(Errno::INVAL) => self.write(path).map(drop),
            changed => changed,
        }
    }
}

const fn owner(stat: &Stat) -> (u32, u32) {
    (stat.st_uid, stat.st_gid)
}

fn absent(read: rustix::io::Result<usize>, text: &[u8]) -> rustix::io::Result<Option<Ownership>> {
    match read {
        Ok(length) => Ok(Ownership::parse(&text[..length])),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::RANGE) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back() {
        let device = Device { is_block: true, major: 8, minor: 1 };
        for (ownership, text) in [
            (Ownership { uid: 33, gid: 4_294_967_294, device: None }, "33:4294967294"),
            (Ownership { uid: 0, gid: 6, device: Some(device) }, "0:6:b:8:1"),
        ] {
            assert_eq!(ownership.to_text(), text);
            assert_eq!(Ownership::parse(text.as_bytes()), Some(ownership));
        }
        for text in ["", "1", "1:2:", "1:2:d:3:4", "+1:2", "1:2:c:3", "1:4294967296", "1:2:c:3:4:5"]
        {
            assert_eq!(Ownership::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn files_carry_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let owned = Ownership { uid: 7, gid: 8, device: None };
        assert!(owned.write(&link).unwrap());
        assert_eq!(Ownership::read(&link), Ok(Some(owned)));
        assert_eq!(Ownership::read_link(&link), Ok(None));
        assert!(Ownership::default().write(&file).unwrap());
        assert_eq!(Ownership::read(&file), Ok(None));
        assert_eq!(Ownership::read(&dir.path().join("none")), Err(Errno::NOENT));
    }
}
