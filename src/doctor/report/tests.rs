//! Facts of every kind of machine, and what is said of them.

use super::*;
use crate::doctor::{Credentials, Foreign, State};
use crate::sandbox::{Gateway, Surroundings};

/// A machine that lacks nothing, as root sees it.
fn all() -> Facts {
    let subordinate = Subordinate { user: "root".to_owned(), range: None, helper: Helper::Ready };
    Facts {
        kernel: "6.18.44-x".to_owned(),
        notifies: true,
        uid: 0,
        level: Ok(Level::Root),
        surroundings: Surroundings { most_namespaces: Some(100), ..Default::default() },
        uids: subordinate.clone(),
        gids: subordinate,
        sandbox: Ok(()),
        overlay: Ok(()),
        proc_covered: false,
        state: State {
            path: "/var/lib/kiln".into(),
            usable: Ok(()),
            file_system: "ext4".to_owned(),
            free: 50 << 30,
        },
        control: Control::Unified {
            controllers: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
            writable: true,
        },
        foreign: Some(vec![
            Foreign { architecture: "arm64", held: true },
            Foreign { architecture: "s390x", held: false },
        ]),
        no_network: Ok(()),
        private: Ok(()),
        gateways: vec![(Gateway::Pasta, "/usr/bin/pasta".into())],
        credentials: Vec::new(),
    }
}

/// An ordinary user with subordinate ids.
fn user() -> Facts {
    let subordinate = Subordinate {
        user: "ann".to_owned(),
        range: Some((100_000, 65536)),
        helper: Helper::Ready,
    };
    let (uids, gids) = (subordinate.clone(), subordinate);
    Facts { uid: 1000, level: Ok(Level::Range), uids, gids, ..all() }
}

/// `status subject: found`, and the fix in a line of its own.
fn lines(facts: &Facts) -> Vec<String> {
    let lines = Report::of(facts).findings.into_iter().flat_map(|finding| {
        let Finding { subject, status, found, fix } = finding;
        let line = format!("{status:?} {subject}: {found}");
        [Some(line), fix.map(|fix| format!("  {fix}"))].into_iter().flatten()
    });
    lines.collect()
}

/// What is said of one subject.
fn about(facts: &Facts, subject: &str) -> (Status, String, String) {
    let finding = Report::of(facts).findings.into_iter().find(|it| it.subject == subject);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {subject}"));
    (finding.status, finding.found, finding.fix.unwrap_or_default())
}

#[test]
fn a_machine_that_lacks_nothing() {
    let expected = [
        "Ok kernel: Linux 6.18.44-x",
        "Ok rights: root",
        "Ok ids: all that there are",
        "Ok sandbox: commands run",
        "Ok overlay: RUN steps work on overlays",
        "Ok state: `/var/lib/kiln` on ext4, 50 GiB free",
        "Ok cgroups: version 2, with pids, memory, cpu",
        "Ok network: host, none, and private by pasta (`/usr/bin/pasta`)",
        "Ok platforms: RUN works for arm64, s390x as well (without flag F, mounted into steps: s390x)",
        "Ok credentials: none; `kiln login REGISTRY` keeps some",
    ];
    assert_eq!(lines(&all()), expected);
    assert!(Report::of(&all()).runs);
    let expected = [
        "Ok rights: user 1000, root of a user namespace with many ids",
        "Ok ids: 65536 users from 100000, 65536 groups from 100000",
    ];
    assert_eq!(lines(&user())[1..3], expected);
}

#[test]
fn a_container_that_allows_nothing() {
    let refused = "cannot make a user namespace: Operation not permitted (os error 1)";
    let surroundings =
        Surroundings { container: Some(Container::Docker), filtered: true, ..Default::default() };
    let facts = Facts {
        level: Ok(Level::Outside),
        surroundings,
        sandbox: Err(refused.to_owned()),
        overlay: Err(refused.to_owned()),
        no_network: Err(refused.to_owned()),
        control: Control::Old,
        foreign: None,
        gateways: Vec::new(),
        ..all()
    };
    let fix =
        "  `docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …`";
    let expected = [
        "Ok kernel: Linux 6.18.44-x",
        "Missing rights: user 0, and no user namespace: RUN cannot work, COPY and ADD do, in a docker container",
        fix,
        "Missing ids: none without a user namespace",
        "Missing sandbox: cannot make a user namespace: Operation not permitted (os error 1)",
        fix,
        "Missing overlay: not tried without a sandbox",
        "Ok state: `/var/lib/kiln` on ext4, 50 GiB free",
        "Limited cgroups: no unified hierarchy: memory and time of steps cannot be limited",
        "  start the machine with `systemd.unified_cgroup_hierarchy=1`",
        "Missing network: not tried without a sandbox",
        "Limited platforms: what the kernel can emulate is not to be seen: it is tried",
        "  `mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc` on the host",
        "Ok credentials: none; `kiln login REGISTRY` keeps some",
    ];
    assert_eq!(lines(&facts), expected);
    assert!(!Report::of(&facts).runs);
}

#[test]
fn what_is_less_than_elsewhere_says_how_to_get_it() {
    let refused = || Err("cannot mount".to_owned());
    let old = |release: &str| Facts { kernel: release.to_owned(), ..all() };
    let (status, _, fix) = about(&old("5.10.0-9-amd64"), "kernel");
    assert_eq!((status, fix.contains("5.12")), (Status::Missing, true));
    let (status, found, _) = about(&old("6.1.0-18"), "kernel");
    assert_eq!(status, Status::Limited, "{found}");
    assert_eq!(about(&Facts { notifies: false, ..all() }, "kernel").0, Status::Limited);

    let covered = Facts { proc_covered: true, ..user() };
    assert_eq!(about(&covered, "processes").0, Status::Limited);
    assert!(!lines(&Facts { proc_covered: true, ..all() }).join("").contains("processes"));

    let overlay = |file_system: &str| {
        let state = State { file_system: file_system.to_owned(), ..all().state };
        about(&Facts { overlay: refused(), state, ..all() }, "overlay")
    };
    let (status, found, fix) = overlay("overlay");
    assert_eq!(status, Status::Limited);
    assert!(found.contains("copies") && fix.contains("volume"), "{found} {fix}");
    assert!(overlay("nfs4").2.contains("not on nfs4"));
    assert!(overlay("ext4").2.contains("modprobe overlay"));

    let full = State { free: 5 << 20, ..all().state };
    let (status, found, fix) = about(&Facts { state: full, ..all() }, "state");
    assert_eq!(status, Status::Limited);
    assert!(found.ends_with("5 MiB free") && fix.contains("kiln prune"), "{found} {fix}");
    let closed = State { usable: refused(), ..all().state };
    assert!(!Report::of(&Facts { state: closed, ..all() }).runs);

    let controllers = vec!["pids".to_owned()];
    let some = Control::Unified { controllers: controllers.clone(), writable: true };
    let found = about(&Facts { control: some, ..user() }, "cgroups").1;
    assert_eq!(found, "version 2, with pids, without memory, cpu");
    let closed = Control::Unified { controllers, writable: false };
    assert!(about(&Facts { control: closed, ..user() }, "cgroups").2.contains("Delegate=yes"));

    let (status, _, fix) = about(&Facts { gateways: Vec::new(), ..all() }, "network");
    assert_eq!(status, Status::Limited);
    assert!(fix.contains("passt") && fix.contains("slirp4netns"), "{fix}");
    let tun = "slirp4netns: open(\"/dev/net/tun\"): Permission denied";
    let (status, _, fix) = about(&Facts { private: Err(tun.to_owned()), ..all() }, "network");
    assert_eq!(status, Status::Limited);
    assert!(fix.contains("chmod 666 /dev/net/tun"), "{fix}");
    let none = Facts { foreign: Some(Vec::new()), ..all() };
    assert!(about(&none, "platforms").2.contains("qemu-user-static"));
}

#[test]
fn ids_and_their_programs() {
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = Facts { level: Ok(Level::Single), ..user() };
        change(&mut facts);
        about(&facts, "ids")
    };
    let (_, found, fix) = with(&|facts| facts.gids.helper = Helper::Missing);
    assert!(found.contains("newgidmap") && fix.contains("uidmap"), "{found} {fix}");
    let (status, found, fix) = with(&|facts| facts.uids.range = None);
    assert_eq!((status, found.as_str()), (Status::Limited, "none for `ann` in /etc/subuid"));
    assert!(fix.contains("usermod --add-subuids 100000-165535") && fix.contains(" ann`"), "{fix}");
    let (_, found, fix) =
        with(&|facts| facts.uids.helper = Helper::Powerless("/usr/bin/newuidmap".into()));
    assert!(found.contains("neither setuid"), "{found}");
    assert_eq!(fix, "`sudo chmod u+s /usr/bin/newuidmap`");
}

#[test]
fn credentials_and_their_helpers() {
    let file = |helpers: &[(&str, bool)], problem: Option<&str>| {
        let helpers = helpers.iter().map(|(name, there)| ((*name).to_owned(), *there)).collect();
        let problem = problem.map(str::to_owned);
        let file = Credentials { path: "/home/ann/.docker/config.json".into(), problem, helpers };
        about(&Facts { credentials: vec![file], ..user() }, "credentials")
    };
    let (status, found, _) = file(&[("docker-credential-pass", true)], None);
    assert_eq!(status, Status::Ok);
    assert_eq!(found, "`/home/ann/.docker/config.json`, with docker-credential-pass");
    let (status, _, fix) = file(&[("docker-credential-pass", false)], None);
    assert_eq!(status, Status::Limited);
    assert!(fix.starts_with("install `docker-credential-pass`"), "{fix}");
    assert_eq!(file(&[], Some("not JSON")).0, Status::Limited);
}
