//! Looks at this machine, and tries what can only be known by trying.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Control, Credentials, Facts, Foreign, Helper, State, Subordinate, Tried};
use crate::diagnostic::chain;
use crate::sandbox::spec::{Network, Root};
use crate::sandbox::{
    self, Emulators, Gateway, Namespaces, Surroundings, subordinate_range, try_root,
};
use crate::snapshot::{Probe, probe};
use crate::store::Store;

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Request {
    /// The state root. It is made if it is not there.
    pub state: PathBuf,
    /// The program that the sandbox starts as its init: kiln itself.
    pub init: PathBuf,
    /// The files that may have credentials.
    pub auth_files: Vec<PathBuf>,
    /// Where programs are looked for, as PATH has it.
    pub path: Vec<PathBuf>,
}

/// Finds out. To be called before there is a thread: it makes this process root of a namespace, as builds do.
pub fn examine(request: &Request) -> Facts {
    let uid = rustix::process::geteuid().as_raw();
    let surroundings = Surroundings::look();
    let (uids, gids) = (subordinate(uid, "uid"), subordinate(uid, "gid"));
    let credentials =
        request.auth_files.iter().filter_map(|path| credentials_in(path, &request.path)).collect();
    let control = control();
    let level = sandbox::enter().map_err(|error| chain(&error));
    let mut facts = Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        notifies: words("/proc/sys/kernel/seccomp/actions_avail").contains(&"user_notif".into()),
        uid,
        level,
        surroundings,
        uids,
        gids,
        sandbox: Err("not tried".to_owned()),
        overlay: Err("not tried".to_owned()),
        proc_covered: is_covered(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
        state: state_of(&request.state),
        control,
        foreign: Emulators::of_this_machine().architectures().map(|known| {
            let foreign = |(architecture, held)| Foreign { architecture, held };
            known.into_iter().map(foreign).collect()
        }),
        no_network: Err("not tried".to_owned()),
        private: Err("not tried".to_owned()),
        gateways: Gateway::available(),
        credentials,
    };
    try_sandboxes(request, &mut facts);
    facts
}

fn try_sandboxes(request: &Request, facts: &mut Facts) {
    let store = match Store::open(&request.state) {
        Ok(store) => store,
        Err(error) => {
            facts.state.usable = Err(chain(&error));
            return;
        }
    };
    // It may have been made only now.
    facts.state = state_of(&request.state);
    let sandbox = Namespaces::new(request.init.clone(), store.scratch().to_owned());
    let Probe { plain, overlay } = match probe(&store, &sandbox) {
        Ok(probe) => probe,
        Err(error) => {
            facts.state.usable = Err(chain(&error));
            return;
        }
    };
    facts.sandbox = plain.map_err(|error| chain(&error));
    facts.overlay = overlay.map_err(|error| chain(&error));
    let in_network = |network| {
        let dir = store.scratch_dir().map_err(|error| chain(&error))?;
        try_root(&sandbox, Root::Directory(dir), network).map_err(|error| chain(&error))
    };
    facts.no_network = in_network(Network::None);
    if let Some((gateway, _)) = facts.gateways.first() {
        facts.private = in_network(Network::Private(*gateway));
    }
}

fn words(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn subordinate(uid: u32, kind: &str) -> Subordinate {
    let (user, range) = subordinate_range(Path::new(&format!("/etc/sub{kind}")), uid);
    let program = format!("new{kind}map");
    let helper = sandbox::find_program(&program).map_or(Helper::Missing, |path| {
        let setuid = fs::metadata(&path).is_ok_and(|meta| meta.mode() & 0o4000 != 0);
        let mut value = [0; 64];
        let capable = rustix::fs::getxattr(&path, "security.capability", &mut value).is_ok();
        if setuid || capable { Helper::Ready } else { Helper::Powerless(path) }
    });
    Subordinate { user, range, helper }
}

/// Whether something is mounted in /proc that covers parts of it.
fn is_covered(mounts: &str) -> bool {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // The host's own: what the kernel mounts there is found beneath an empty directory.
    points.filter(|point| *point != "/proc/sys/fs/binfmt_misc").any(|at| at.starts_with("/proc/"))
}

fn state_of(path: &Path) -> State {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let there = there.canonicalize().unwrap_or_else(|_| there.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let free = rustix::fs::statvfs(&there).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    let usable: Tried = Ok(());
    State { path: path.to_owned(), usable, file_system: type_of(&mounts, &there), free }
}

/// The type of the file system that a path lies on: that of the last of the longest mount points above it.
fn type_of(mounts: &str, path: &Path) -> String {
    let mut best = (0, "an unknown file system");
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let point = left.split(' ').nth(4).unwrap_or_default().replace("\\040", " ");
        if path.starts_with(&point) && point.len() >= best.0 {
            best = (point.len(), right.split(' ').next().unwrap_or_default());
        }
    }
    best.1.to_owned()
}

fn control() -> Control {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Control::Old;
    };
    let directory = Path::new("/sys/fs/cgroup").join(group);
    let Ok(text) = fs::read_to_string(directory.join("cgroup.controllers")) else {
        return Control::Old;
    };
    let writable = rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok();
    Control::Unified { controllers: text.split_whitespace().map(str::to_owned).collect(), writable }
}

fn credentials_in(path: &Path, programs: &[PathBuf]) -> Option<Credentials> {
    let bytes = match crate::fs::read_if_present(path) {
        Ok(bytes) => bytes?,
        Err(error) => {
            let problem = Some(chain(&error));
            return Some(Credentials { path: path.to_owned(), problem, helpers: Vec::new() });
        }
    };
    let parsed = serde_json::from_slice::<serde_json::Value>(&bytes);
    let problem = parsed.as_ref().err().map(|error| format!("`{}`: {error}", path.display()));
    let json = parsed.unwrap_or_default();
    let store = json["credsStore"].as_str();
    let others = json["credHelpers"].as_object().into_iter().flatten();
    let names = store.into_iter().chain(others.filter_map(|(_, name)| name.as_str()));
    let names: std::collections::BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let helper = |name: &str| {
        let program = format!("docker-credential-{name}");
        let there = programs.iter().any(|dir| dir.join(&program).is_file());
        (program, there)
    };
    let helpers = names.into_iter().map(helper).collect();
    Some(Credentials { path: path.to_owned(), problem, helpers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw - ext4 /dev/sda rw\n\
        23 22 0:20 / /proc rw - proc proc rw\n\
        24 22 0:30 / /var/lib rw - xfs /dev/sdb rw\n";

    #[test]
    fn mounts_are_read() {
        assert_eq!(type_of(MOUNTS, Path::new("/var/lib/kiln")), "xfs");
        assert_eq!(type_of(MOUNTS, Path::new("/var/library")), "ext4");
        assert!(!is_covered(MOUNTS));
        let binfmt = "30 23 0:40 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw\n";
        assert!(!is_covered(&format!("{MOUNTS}{binfmt}")));
        let masked = "30 23 0:40 /null /proc/kcore rw - devtmpfs devtmpfs rw\n";
        assert!(is_covered(&format!("{MOUNTS}{masked}")));
    }

    #[test]
    fn helpers_of_credentials_are_looked_for() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.json");
        let text = r#"{"credsStore":"there","credHelpers":{"a.io":"absent","b.io":"there"}}"#;
        fs::write(&file, text).unwrap();
        fs::write(home.path().join("docker-credential-there"), "").unwrap();
        let found = credentials_in(&file, &[home.path().to_owned()]).unwrap();
        let expected = [("docker-credential-absent", false), ("docker-credential-there", true)];
        assert_eq!(found.helpers, expected.map(|(name, there)| (name.to_owned(), there)));
        assert_eq!(found.problem, None);
        fs::write(&file, "{").unwrap();
        assert!(credentials_in(&file, &[]).unwrap().problem.unwrap().contains("config.json"));
        assert!(credentials_in(&home.path().join("none"), &[]).is_none());
    }
}
