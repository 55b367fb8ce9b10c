//! Who a process runs as and who owns a copied file, looked up in the bytes of an image's `/etc/passwd` and
//! `/etc/group`.
//!
//! The rules are those of BuildKit (`moby/sys/user`, `user_linux.go`), including that a malformed id counts as 0:
//! the files belong to the image, and so does what they say. One rule is kinder: `root` needs no entry. Reading the
//! files beneath the image's root, and that a missing one is `None`, is the caller's part; files over 10 MiB are
//! refused here.

/// The largest `/etc/passwd` or `/etc/group` that is read.
const LIMIT: usize = 10 << 20;

/// Ids of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIds {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups; the group itself is among them.
    pub groups: Vec<u32>,
}

/// Owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Why a user cannot be found.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum UserError {
    /// There is no such user.
    #[error("unable to find user `{0}`: no matching entry in the image's `/etc/passwd`")]
    NoUser(String),
    /// There is no such group.
    #[error("unable to find group `{0}`: no matching entry in the image's `/etc/group`")]
    NoGroup(String),
    /// A name where there is no file system to look it up in.
    #[error("cannot find `{0}`: on `scratch` and with `--link` owners must be numbers")]
    NoFiles(String),
    /// A number that is no id.
    #[error("invalid id `{0}`: ids are 0 to 2147483647")]
    Range(String),
    /// The file is not one that a system would have.
    #[error("the image's `{0}` has more than 10 MiB")]
    TooLarge(&'static str),
}

impl UserError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoUser(_) => Some("create it first (RUN useradd …), or give a number".to_owned()),
            Self::NoGroup(_) => {
                Some("create it first (RUN groupadd …), or give a number".to_owned())
            }
            Self::NoFiles(_) | Self::Range(_) | Self::TooLarge(_) => None,
        }
    }
}

struct PasswdEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
}

struct GroupEntry<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

/// The `USER` of a process: `user[:group]`, names or numbers; empty is the default user.
///
/// With a user alone: its group and the groups that list it. With a group: that one only.
pub fn process_ids(
    spec: &str,
    passwd: Option<&[u8]>,
    group: Option<&[u8]>,
) -> Result<ProcessIds, UserError> {
    if spec.is_empty() {
        return Ok(lookup("0", None, passwd, group).unwrap_or_else(|_| ids(0, 0, Vec::new())));
    }
    let (user, group_name) = match spec.split_once(':') {
        Some((user, rest)) => (user, Some(rest)),
        None => (spec, None),
    };
    if let (Some(uid), Some(gid)) = (plain_id(user), group_name.and_then(plain_id)) {
        return Ok(ids(uid, gid, Vec::new()));
    }
    let group_name = group_name.map(|rest| rest.split(':').next().unwrap_or(rest));
    lookup(user, group_name.filter(|name| !name.is_empty()), passwd, group)
}

/// The `--chown` of COPY and ADD: `user[:group]`. A name that is not found counts as 0, as in BuildKit.
pub fn owner(spec: &str, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<Owner, UserError> {
    let (user, group_name) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let mut owner = match file_id(user)? {
        Some(id) => Owner { uid: id, gid: id },
        None => {
            let found = users(passwd)?.find(|entry| entry.name == user.as_bytes());
            found.map_or(Owner::default(), |entry| Owner { uid: entry.uid, gid: entry.gid })
        }
    };
    if let Some(name) = group_name {
        let found = match file_id(name)? {
            Some(id) => Some(id),
            None if name.is_empty() => Some(0),
            None => groups(group)?.find(|entry| entry.name == name.as_bytes()).map(|e| e.gid),
        };
        owner.gid = found.unwrap_or(owner.gid);
    }
    Ok(owner)
}

/// Returns whether finding out whom a `--chown` means needs the files of the image.
pub fn is_named_owner(spec: &str) -> bool {
    spec.splitn(2, ':').any(|name| !name.is_empty() && file_id(name) == Ok(None))
}

fn ids(uid: u32, gid: u32, mut groups: Vec<u32>) -> ProcessIds {
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    ProcessIds { uid, gid, groups }
}

fn lookup(
    user: &str,
    group_name: Option<&str>,
    passwd: Option<&[u8]>,
    group: Option<&[u8]>,
) -> Result<ProcessIds, UserError> {
    let uid = if user.is_empty() { Some(0) } else { number(user)? };
    let gid = group_name.map(number).transpose()?.flatten();
    let entry = users(passwd)?.find(|entry| match uid {
        Some(uid) => entry.uid == uid,
        None => entry.name == user.as_bytes(),
    });
    let (found_uid, primary, name) = match (&entry, uid) {
        (Some(entry), _) => (entry.uid, entry.gid, Some(entry.name)),
        (None, Some(uid)) => (uid, 0, None),
        (None, None) if user == "root" => (0, 0, None),
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    if let Some(group_name) = group_name {
        let found = groups(group)?.find(|entry| match gid {
            Some(gid) => entry.gid == gid,
            None => entry.name == group_name.as_bytes(),
        });
        let gid = found.map(|entry| entry.gid).or(gid);
        let gid = gid.ok_or_else(|| UserError::NoGroup(group_name.to_owned()))?;
        return Ok(ids(found_uid, gid, Vec::new()));
    }
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(ids(found_uid, primary, Vec::new()));
    };
    let member_of = groups(group)?.filter(|g| g.members.split(|b| *b == b',').any(|m| m == name));
    Ok(ids(found_uid, primary, member_of.map(|entry| entry.gid).collect()))
}

/// `root`, or a number of 32 bits: what needs no look-up.
fn plain_id(text: &str) -> Option<u32> {
    if text == "root" {
        return Some(0);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// An id of a process; `None`: a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse().ok().and_then(|id: i32| u32::try_from(id).ok());
    id.map(Some).ok_or_else(|| UserError::Range(text.to_owned()))
}

/// An id of a file's owner; `None`: a name, as which a number that is too large counts too.
fn file_id(text: &str) -> Result<Option<u32>, UserError> {
    if text == "root" {
        return Ok(Some(0));
    }
    match text.parse::<i32>() {
        Ok(id) => match u32::try_from(id) {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(UserError::Range(text.to_owned())),
        },
        Err(_) => Ok(None),
    }
}

fn users(passwd: Option<&[u8]>) -> Result<impl Iterator<Item = PasswdEntry<'_>>, UserError> {
    let lines = lines("/etc/passwd", passwd)?;
    Ok(lines.map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let mut next = || fields.next().unwrap_or_default();
        let (name, _, uid, gid) = (next(), next(), next(), next());
        PasswdEntry { name, uid: lenient_id(uid), gid: lenient_id(gid) }
    }))
}

fn groups(group: Option<&[u8]>) -> Result<impl Iterator<Item = GroupEntry<'_>>, UserError> {
    let lines = lines("/etc/group", group)?.filter(|line| line[0] != b'#');
    Ok(lines.map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let mut next = || fields.next().unwrap_or_default();
        let (name, _, gid, members) = (next(), next(), next(), next());
        GroupEntry { name, gid: lenient_id(gid), members }
    }))
}

/// Returns the lines that are not blank, trimmed.
fn lines<'a>(
    name: &'static str,
    bytes: Option<&'a [u8]>,
) -> Result<impl Iterator<Item = &'a [u8]>, UserError> {
    let bytes = bytes.unwrap_or_default();
    if bytes.len() > LIMIT {
        return Err(UserError::TooLarge(name));
    }
    Ok(bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()))
}

/// Reads an id of a file as the C library and Go's reader do: what is no number is 0.
fn lenient_id(field: &[u8]) -> u32 {
    let text = std::str::from_utf8(field).unwrap_or_default();
    let id: i64 = text.parse().unwrap_or(0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "-2 is nobody: 2^32 - 2"
    )]
    let id = id as u32;
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n  app:x:1000:1001::/home/app:/bin/sh \n\n\
        nobody:x:-2:-2::/:\nodd:x:zero\nsecond:x:1000:7::/second:\nnohome:x:5:5\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwheel:x:10:root,app\n#wheel:x:11:app\napp:x:1001:\naudio:x:29:app,other\n";

    type Expected<'a> = (u32, u32, &'a [u32]);

    fn process(spec: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
        process_ids(spec, Some(PASSWD), Some(GROUP)).map(|ids| (ids.uid, ids.gid, ids.groups))
    }

    #[test]
    fn processes_find_their_ids() {
        #[rustfmt::skip]
        let cases: [(&str, Result<Expected<'_>, UserError>); 20] = [
            ("", Ok((0, 0, &[0, 10]))),
            ("root", Ok((0, 0, &[0, 10]))),
            ("0", Ok((0, 0, &[0, 10]))),
            ("root:root", Ok((0, 0, &[0]))),
            ("app", Ok((1000, 1001, &[1001, 10, 29]))),
            ("1000", Ok((1000, 1001, &[1001, 10, 29]))),
            ("app:audio", Ok((1000, 29, &[29]))),
            ("app:4242", Ok((1000, 4242, &[4242]))),
            ("app:", Ok((1000, 1001, &[1001, 10, 29]))),
            ("1000:1000", Ok((1000, 1000, &[1000]))),
            ("4294967295:0", Ok((4_294_967_295, 0, &[0]))),
            ("4242", Ok((4242, 0, &[0]))),
            (":audio", Ok((0, 29, &[29]))),
            ("nobody", Ok((4_294_967_294, 4_294_967_294, &[4_294_967_294]))),
            ("odd", Ok((0, 0, &[0]))),
            ("ghost", Err(UserError::NoUser("ghost".into()))),
            ("app:ghost", Err(UserError::NoGroup("ghost".into()))),
            ("-1", Err(UserError::Range("-1".into()))),
            ("2147483648", Err(UserError::Range("2147483648".into()))),
            ("99999999999999999999", Err(UserError::Range("99999999999999999999".into()))),
        ];
        for (spec, expected) in cases {
            let expected = expected.map(|(uid, gid, groups)| (uid, gid, groups.to_vec()));
            assert_eq!(process(spec), expected, "{spec}");
        }
    }

    #[test]
    fn an_image_without_files_still_has_root() {
        assert_eq!(process_ids("", None, None), Ok(ids(0, 0, vec![])));
        assert_eq!(process_ids("5", None, None), Ok(ids(5, 0, vec![])));
        assert_eq!(process_ids("app", None, None), Err(UserError::NoUser("app".into())));
        assert_eq!(process_ids("root", None, None), Ok(ids(0, 0, vec![])));
    }

    #[test]
    fn owners_that_are_not_found_are_root() {
        #[rustfmt::skip]
        let cases = [
            ("app", (1000, 1001)), ("app:wheel", (1000, 10)), ("5", (5, 5)), ("5:app", (5, 1001)), ("root", (0, 0)),
            ("root:5", (0, 5)), ("ghost", (0, 0)), ("ghost:ghost", (0, 0)), ("app:ghost", (1000, 1001)),
            (":5", (0, 5)), ("4294967295", (0, 0)), ("app:", (1000, 0)), ("5:", (5, 0)), (":", (0, 0)),
        ];
        for (spec, (uid, gid)) in cases {
            assert_eq!(owner(spec, Some(PASSWD), Some(GROUP)), Ok(Owner { uid, gid }), "{spec}");
        }
        assert_eq!(owner("app:app", None, None), Ok(Owner { uid: 0, gid: 0 }));
        assert_eq!(owner("-1", None, None), Err(UserError::Range("-1".into())));
    }

    #[test]
    fn numbers_and_root_need_no_files() {
        for spec in ["", "5", "root", "5:6", "root:root", ":5", "5:", "-1"] {
            assert!(!is_named_owner(spec), "{spec}");
        }
        for spec in ["app", "5:app", "app:5", ":app", "4294967296"] {
            assert!(is_named_owner(spec), "{spec}");
        }
    }

    #[test]
    fn huge_files_are_refused() {
        let huge = vec![b'\n'; LIMIT + 1];
        assert_eq!(process_ids("x", Some(&huge), None), Err(UserError::TooLarge("/etc/passwd")));
        assert_eq!(process_ids("0:x", None, Some(&huge)), Err(UserError::TooLarge("/etc/group")));
    }
}
