//! Limits on memory, processors and processes: a control group for each run, in the unified hierarchy or, where the
//! kernel's old ones are in use, in each of those that it needs.
//!
//! A group is made beneath the one that kiln is in, so that whatever limits kiln limits its steps too, or beneath the one
//! that the user names. In the unified hierarchy a group that has children with limits has no processes of its own: where
//! kiln is alone in its group it moves itself into a child, `kiln`; where it is not, the steps' groups are made beside
//! its group. A limit that was asked for and cannot be set is an error.
//!
//! The keeper removes the group, so that it goes even if kiln is killed. If both were killed it stays, empty and with
//! nobody holding its lock, until the next run in the same place removes it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::Error;
use super::spec::{Limits, Swap};

/// The group of one run; what the keeper has not removed is removed when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// One directory in each hierarchy.
    directories: Vec<PathBuf>,
    /// Says that somebody still wants the group.
    _locks: Vec<File>,
}

/// A hierarchy as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    /// Where it is mounted.
    mount: PathBuf,
    /// The directory of the group that this process is in.
    own: PathBuf,
    /// Its controllers; the unified hierarchy's stand in a file.
    controllers: BTreeSet<String>,
    unified: bool,
}

impl Group {
    /// Makes what the limits need; nothing if there are none.
    pub(super) fn make(limits: &Limits) -> Result<Self, Error> {
        if *limits == Limits::default() {
            return Ok(Self::default());
        }
        let read = |path: &str| fs::read_to_string(path).map_err(failed("read", Path::new(path)));
        let own = read("/proc/self/cgroup")?;
        let mounts = read("/proc/self/mountinfo")?;
        Self::make_in(&hierarchies(&own, &mounts), limits)
    }

    fn make_in(hierarchies: &[Hierarchy], limits: &Limits) -> Result<Self, Error> {
        // Steps that begin at once must not find each other's half-made groups.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock();
        let mut group = Self::default();
        for (hierarchy, controllers) in chosen(hierarchies, limits)? {
            let base = match &limits.parent {
                Some(parent) => named_parent(hierarchy, parent, &controllers)?,
                None => own_parent(hierarchy, &controllers)?,
            };
            sweep(&base);
            let (directory, lock) = make_directory(&base)?;
            group.directories.push(directory.clone());
            group._locks.push(lock);
            for (file, value, needed) in settings(hierarchy, limits, &base) {
                let path = directory.join(file);
                let written = fs::write(&path, &value);
                let absent = |error: &io::Error| error.kind() == ErrorKind::NotFound && !needed;
                match written {
                    Err(error) if !absent(&error) => {
                        return Err(failed(&format!("write `{value}` to"), &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(group)
    }

    /// The directories, one in each hierarchy.
    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.directories);
    }
}

/// Moves this process, which has one thread, into a group.
pub(super) fn join(directories: &[PathBuf]) -> io::Result<()> {
    directories.iter().try_for_each(|directory| fs::write(directory.join("cgroup.procs"), "0"))
}

/// How many processes of a group were killed because it was out of memory.
pub(super) fn memory_kills(directories: &[PathBuf]) -> u64 {
    let files = ["memory.events", "memory.oom_control"];
    let texts = directories.iter().flat_map(|directory| {
        files.iter().filter_map(|file| fs::read_to_string(directory.join(file)).ok())
    });
    texts.map(|text| kills_in(&text)).sum()
}

/// Reads a count of kills in the form that the kernel has for it in several files.
pub(super) fn kills_in(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Removes a group whose processes have ended. The last of them may be on its way out still, for a moment.
pub(super) fn remove(directories: &[PathBuf]) {
    const TRIES: u32 = 200;
    for directory in directories {
        for _ in 0..TRIES {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => break,
            }
        }
    }
}

/// Reads /proc/self/cgroup and /proc/self/mountinfo.
fn hierarchies(own: &str, mounts: &str) -> Vec<Hierarchy> {
    let found = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mount) = (place.next()?, Path::new(place.next()?));
        let mut kind = kind.split(' ');
        let unified = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options: BTreeSet<String> = kind.nth(1)?.split(',').map(str::to_owned).collect();
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, names) = (fields.next()?, fields.next()?);
            let mut names = names.split(',');
            let matches =
                if unified { number == "0" } else { names.any(|name| options.contains(name)) };
            matches.then(|| fields.next())?
        })?;
        let controllers = if unified { words(&mount.join("cgroup.controllers")) } else { options };
        Some(Hierarchy {
            mount: mount.to_owned(),
            own: inside(mount, root, path),
            controllers,
            unified,
        })
    });
    // Of mounts of one hierarchy the first serves.
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    for hierarchy in found {
        if !hierarchies.iter().any(|other| {
            other.unified == hierarchy.unified && other.controllers == hierarchy.controllers
        }) {
            hierarchies.push(hierarchy);
        }
    }
    hierarchies
}

/// Where the group `path` is if the group `root` is mounted at `mount`.
fn inside(mount: &Path, root: &str, path: &str) -> PathBuf {
    let beneath = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let plain = beneath.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain { mount.join(beneath) } else { mount.to_owned() }
}

fn words(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Which hierarchies the limits need, and which controllers of each. Where nothing but a parent is asked for, the group is
/// made wherever something could be limited.
fn chosen<'h>(
    hierarchies: &'h [Hierarchy],
    limits: &Limits,
) -> Result<Vec<(&'h Hierarchy, BTreeSet<&'static str>)>, Error> {
    let needed = limits.controllers();
    let all = ["memory", "cpu", "cpuset", "pids"];
    let wanted: &[&'static str] = if needed.is_empty() { &all } else { &needed };
    let mut chosen: Vec<(&Hierarchy, BTreeSet<&'static str>)> = Vec::new();
    for &controller in wanted {
        let has = |hierarchy: &&Hierarchy| hierarchy.controllers.contains(controller);
        let Some(hierarchy) = hierarchies.iter().find(has) else {
            if needed.is_empty() {
                continue;
            }
            let source = io::Error::new(
                ErrorKind::Unsupported,
                format!(
                    "no control group file system that is mounted here has the controller `{controller}`"
                ),
            );
            return Err(Error::Limit { operation: format!("limit {controller}"), source });
        };
        match chosen.iter_mut().find(|(other, _)| *other == hierarchy) {
            Some((_, controllers)) => drop(controllers.insert(controller)),
            None => chosen.push((hierarchy, BTreeSet::from([controller]))),
        }
    }
    Ok(chosen)
}

/// The directory of `--cgroup-parent`, made if it is missing.
fn named_parent(
    hierarchy: &Hierarchy,
    parent: &str,
    controllers: &BTreeSet<&'static str>,
) -> Result<PathBuf, Error> {
    let mut path = hierarchy.mount.clone();
    for part in parent_parts(parent)? {
        if hierarchy.unified {
            enable(&path, controllers)?;
        }
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failed("make the control group", &path)(error));
            }
            _ => {}
        }
        if !hierarchy.unified {
            inherit_sets(&path)?;
        }
    }
    if hierarchy.unified {
        enable(&path, controllers)?;
    }
    Ok(path)
}

/// The parts of a path, or those that systemd gives a slice: `a-b.slice` lies in `a.slice`.
fn parent_parts(parent: &str) -> Result<Vec<String>, Error> {
    let invalid = || Error::Invalid(format!("`{parent}` is no name of a control group"));
    let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty()
        || parts.iter().any(|part| matches!(*part, "." | "..") || part.contains('\0'))
    {
        return Err(invalid());
    }
    let ([slice], Some(stem)) = (&parts[..], parent.strip_suffix(".slice")) else {
        return Ok(parts.into_iter().map(str::to_owned).collect());
    };
    if slice.starts_with('/') || stem.is_empty() {
        return Err(invalid());
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Ok(ends.map(|end| format!("{}.slice", &stem[..end])).collect())
}

/// Where groups are made if the user names no place.
fn own_parent(
    hierarchy: &Hierarchy,
    controllers: &BTreeSet<&'static str>,
) -> Result<PathBuf, Error> {
    let own = &hierarchy.own;
    if !hierarchy.unified {
        return Ok(own.clone());
    }
    let busy = match enable(own, controllers) {
        Ok(()) => return Ok(own.clone()),
        Err(error) => error,
    };
    let this = std::process::id().to_string();
    if words(&own.join("cgroup.procs")) == BTreeSet::from([this.clone()]) {
        let inner = own.join("kiln");
        let moved = fs::create_dir(&inner).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        });
        moved
            .and_then(|()| fs::write(inner.join("cgroup.procs"), this))
            .map_err(failed("move kiln into", &inner))?;
        return enable(own, controllers).map(|()| own.clone());
    }
    match own
        .parent()
        .filter(|parent| *own != hierarchy.mount && parent.starts_with(&hierarchy.mount))
    {
        Some(beside) => enable(beside, controllers).map(|()| beside.to_owned()).map_err(|_| busy),
        None => Err(busy),
    }
}

/// Lets the children of a group of the unified hierarchy have limits of these kinds.
fn enable(group: &Path, controllers: &BTreeSet<&'static str>) -> Result<(), Error> {
    let file = group.join("cgroup.subtree_control");
    let have = words(&file);
    let missing: Vec<String> = controllers
        .iter()
        .filter(|controller| !have.contains(**controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = missing.join(" ");
    fs::write(&file, &text).map_err(failed(&format!("write `{text}` to"), &file))
}

/// In an old hierarchy no process may join a group whose processors or memory nodes were not named.
fn inherit_sets(group: &Path) -> Result<(), Error> {
    for (file, effective) in
        [("cpuset.cpus", "cpuset.effective_cpus"), ("cpuset.mems", "cpuset.effective_mems")]
    {
        let Some(parent) = group.parent() else { continue };
        let Ok(given) = fs::read_to_string(parent.join(effective)) else { continue };
        let path = group.join(file);
        if fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty()) {
            fs::write(&path, given.trim()).map_err(failed("write", &path))?;
        }
    }
    Ok(())
}

/// Makes a new group beneath `base` and holds it.
fn make_directory(base: &Path) -> Result<(PathBuf, File), Error> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made.map_err(failed("make the control group", &path))?,
        }
        // Another kiln may take it for one that was left, and remove it, before it is held.
        let Ok(lock) = File::open(&path) else { continue };
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| failed("hold the control group", &path)(error.into()))?;
        if path.exists() {
            return Ok((path, lock));
        }
    }
}

/// What the groups of runs are called.
const PREFIX: &str = "kiln-";

/// Removes groups that nobody holds: those of runs whose kiln and keeper were both killed.
fn sweep(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries {
        let left = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if left
            && let Ok(directory) = File::open(entry.path())
            && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            // One that has processes still cannot be removed.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// What is written to which files of a group, in this order, and whether the file must be there.
fn settings(
    hierarchy: &Hierarchy,
    limits: &Limits,
    base: &Path,
) -> Vec<(&'static str, String, bool)> {
    let has = |controller: &str| hierarchy.controllers.contains(controller);
    let mut settings = Vec::new();
    if has("memory") {
        settings.extend(memory(hierarchy.unified, limits));
    }
    if has("pids") {
        settings.extend(limits.pids.map(|count| ("pids.max", count.to_string(), true)));
    }
    if has("cpu") {
        settings.extend(processor_time(hierarchy.unified, limits));
    }
    if has("cpuset") {
        let given = |file: &str| {
            let text = fs::read_to_string(base.join(file)).ok()?;
            (!hierarchy.unified).then(|| text.trim().to_owned())
        };
        let cpus = limits.cpus.clone().or_else(|| given("cpuset.effective_cpus"));
        let nodes = limits.memory_nodes.clone().or_else(|| given("cpuset.effective_mems"));
        settings.extend(cpus.map(|cpus| ("cpuset.cpus", cpus, true)));
        settings.extend(nodes.map(|nodes| ("cpuset.mems", nodes, true)));
    }
    settings
}

/// Without a limit of its own, swap may take as much again as memory, as docker has it.
fn memory(unified: bool, limits: &Limits) -> Vec<(&'static str, String, bool)> {
    let Some(memory) = limits.memory else { return Vec::new() };
    let asked = limits.swap.is_some();
    let both = match limits.swap {
        None => Some(memory.saturating_mul(2)),
        Some(Swap::With(both)) => Some(both),
        Some(Swap::Unlimited) => None,
    };
    let (first, second) = match unified {
        true => ("memory.max", "memory.swap.max"),
        false => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    };
    let swap = match both {
        Some(both) if unified => both.saturating_sub(memory).to_string(),
        Some(both) => both.to_string(),
        None if unified => "max".to_owned(),
        None => "-1".to_owned(),
    };
    vec![(first, memory.to_string(), true), (second, swap, asked)]
}

fn processor_time(unified: bool, limits: &Limits) -> Vec<(&'static str, String, bool)> {
    let mut settings = Vec::new();
    if unified {
        settings.extend(
            limits.cpu_shares.map(|shares| ("cpu.weight", weight(shares).to_string(), true)),
        );
        if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
            let quota = limits.cpu_quota.map_or("max".to_owned(), |quota| quota.to_string());
            let period = limits.cpu_period.unwrap_or(100_000);
            settings.push(("cpu.max", format!("{quota} {period}"), true));
        }
    } else {
        let numbers = [
            ("cpu.shares", limits.cpu_shares),
            ("cpu.cfs_period_us", limits.cpu_period),
            ("cpu.cfs_quota_us", limits.cpu_quota),
        ];
        settings.extend(
            numbers.into_iter().filter_map(|(file, value)| Some((file, value?.to_string(), true))),
        );
    }
    settings
}

/// The weight of a number of shares, by the formula on which runc and crun agree: 1024 are 100.
fn weight(shares: u64) -> u64 {
    const FEWEST: f64 = 2.0;
    const MOST: f64 = 262_144.0;
    let log = (shares as f64).clamp(FEWEST, MOST).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

fn failed<'a>(verb: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + use<'a> {
    move |source| Error::Limit { operation: format!("{verb} `{}`", path.display()), source }
}

#[cfg(test)]
mod tests;
