//! What is written to which file, on trees that look like the kernel's.

use super::*;

const OWN: &str = "4:memory:/user/one\n2:cpu,cpuacct:/\n1:name=systemd:/user\n0::/user/one\n";
const UNIFIED_ONLY: &str = "0::/user/one\n";

/// A directory in the place of /sys/fs/cgroup.
struct Fake(tempfile::TempDir);

impl Fake {
    /// `mounts` are pairs of a type with its options and a place.
    fn new(groups: &[&str]) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        for group in groups {
            fs::create_dir_all(fake.path(group)).unwrap();
        }
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn mount(&self, root: &str, name: &str, kind: &str) -> String {
        let place = self.path(name);
        format!("30 1 0:2 {root} {} rw,nosuid shared:9 - {kind}\n", place.display())
    }

    /// Everything that was written to the groups of runs below, by place.
    fn written(&self, group: &Path) -> Vec<(String, String)> {
        let mut written: Vec<_> = fs::read_dir(group)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        written.sort();
        written
    }
}

fn all() -> Limits {
    Limits {
        memory: Some(1 << 20),
        swap: None,
        cpu_shares: Some(1024),
        cpu_period: None,
        cpu_quota: Some(50_000),
        cpus: Some("0".into()),
        memory_nodes: None,
        pids: Some(7),
        parent: None,
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
}

#[test]
fn the_unified_hierarchy_gets_its_files() {
    let fake = Fake::new(&["user/one"]);
    fake.write("cgroup.controllers", "cpuset cpu io memory pids\n");
    fake.write("user/one/cgroup.subtree_control", "cpu pids\n");
    let found = hierarchies(UNIFIED_ONLY, &fake.mount("/", "", "cgroup2 cgroup2 rw"));
    assert_eq!(found[0].own, fake.path("user/one"));
    let group = Group::make_in(&found, &all()).unwrap();
    let [directory] = group.directories() else { panic!("{group:?}") };
    assert!(directory.starts_with(fake.path("user/one")));
    let enabled = fs::read_to_string(fake.path("user/one/cgroup.subtree_control")).unwrap();
    assert_eq!(enabled, "+cpuset +memory", "what was not enabled yet");
    let expected = [
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "0"),
        ("memory.max", "1048576"),
        ("memory.swap.max", "1048576"),
        ("pids.max", "7"),
    ];
    assert_eq!(fake.written(directory), pairs(&expected));
}

#[test]
fn old_hierarchies_get_theirs() {
    let fake = Fake::new(&["memory/one", "cpu", "pids", "cpuset"]);
    let own = "4:memory:/user/one\n3:cpuset:/\n2:cpu,cpuacct:/\n5:pids:/\n0::/\n";
    for (name, text) in [("cpus", "0-1\n"), ("mems", "0\n")] {
        fake.write(&format!("cpuset/cpuset.effective_{name}"), text);
    }
    let mounts = [
        fake.mount("/user", "memory", "cgroup cgroup rw,memory"),
        fake.mount("/", "cpu", "cgroup cgroup rw,cpu,cpuacct"),
        fake.mount("/", "pids", "cgroup cgroup rw,pids"),
        fake.mount("/", "cpuset", "cgroup cgroup rw,cpuset"),
    ];
    let found = hierarchies(own, &mounts.concat());
    let group = Group::make_in(&found, &all()).unwrap();
    let written: Vec<_> = group.directories().iter().map(|group| fake.written(group)).collect();
    let expected: [&[(&str, &str)]; 4] = [
        &[("memory.limit_in_bytes", "1048576"), ("memory.memsw.limit_in_bytes", "2097152")],
        &[("cpu.cfs_quota_us", "50000"), ("cpu.shares", "1024")],
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
        &[("pids.max", "7")],
    ];
    assert_eq!(written, expected.map(pairs));
    assert!(group.directories()[0].starts_with(fake.path("memory/one")));
}

#[test]
fn swap_is_what_was_asked_for() {
    let with = |swap| memory(true, &Limits { memory: Some(100), swap, ..Limits::default() });
    assert_eq!(with(None)[1], ("memory.swap.max", "100".to_owned(), false));
    assert_eq!(with(Some(Swap::With(150)))[1], ("memory.swap.max", "50".to_owned(), true));
    assert_eq!(with(Some(Swap::Unlimited))[1], ("memory.swap.max", "max".to_owned(), true));
    let limits = Limits { memory: Some(100), swap: Some(Swap::Unlimited), ..Limits::default() };
    assert_eq!(memory(false, &limits)[1], ("memory.memsw.limit_in_bytes", "-1".to_owned(), true));
}

#[test]
fn shares_become_weights() {
    let weights = [1, 2, 512, 1024, 2048, 262_144, u64::MAX].map(weight);
    assert_eq!(weights, [1, 1, 59, 100, 174, 10_000, 10_000]);
}

#[test]
fn what_cannot_be_limited_is_an_error() {
    let fake = Fake::new(&["cpu"]);
    let found = hierarchies(OWN, &fake.mount("/", "cpu", "cgroup cgroup rw,cpu,cpuacct"));
    let limits = Limits { pids: Some(3), ..Limits::default() };
    let error = Group::make_in(&found, &limits).unwrap_err();
    assert_eq!(error.to_string(), "cannot limit pids");
    assert!(error.hint().unwrap().contains("--cgroup-parent"));
    // Where only the place is asked for, what there is serves.
    let limits = Limits { parent: Some("/x/y".into()), ..Limits::default() };
    let group = Group::make_in(&found, &limits).unwrap();
    assert!(group.directories()[0].starts_with(fake.path("cpu/x/y")));
}

#[test]
fn parents_are_paths_or_slices() {
    assert_eq!(parent_parts("/a/b.slice/").unwrap(), ["a", "b.slice"]);
    assert_eq!(parent_parts("a-b-c.slice").unwrap(), ["a.slice", "a-b.slice", "a-b-c.slice"]);
    for bad in ["", "/", "../x", "a/../../b", "a/./b", ".slice"] {
        assert!(parent_parts(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_mount_may_show_a_part_of_a_hierarchy() {
    let at = Path::new("/sys/fs/cgroup");
    assert_eq!(inside(at, "/", "/a/b"), at.join("a/b"));
    assert_eq!(inside(at, "/docker/1", "/docker/1/x"), at.join("x"));
    assert_eq!(inside(at, "/docker/1", "/elsewhere"), at);
    assert_eq!(inside(at, "/", "/../outside"), at);
}

#[test]
fn groups_that_nobody_holds_are_removed() {
    let fake = Fake::new(&["kiln-1-0", "kiln-1-1", "other"]);
    let held = File::open(fake.path("kiln-1-1")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    sweep(&fake.path(""));
    let left = ["kiln-1-0", "kiln-1-1", "other"].map(|name| fake.path(name).exists());
    assert_eq!(left, [false, true, true]);
}

#[test]
fn kills_are_counted() {
    assert_eq!(kills_in("low 0\nmax 17\noom 1\noom_kill 2\noom_group_kill 0\n"), 2);
    assert_eq!(kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
    assert_eq!(kills_in(""), 0);
}
