//! What a step is given by default, held against what containerd's and moby's default specs give: capabilities, hidden and
//! read-only paths. The system call filter is held against moby's profile beside its code.

use std::path::Path;

use crate::support::BASE;
use crate::world::{Level, World};

/// Of containerd's `pkg/oci` and moby's `oci/defaults.go`.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// CHOWN, DAC_OVERRIDE, FSETID, FOWNER, MKNOD, NET_RAW, SETGID, SETUID, SETFCAP, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT,
/// KILL and AUDIT_WRITE, by their numbers.
const CAPABILITIES: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];

#[test]
fn the_defaults_are_those_of_the_reference() {
    for level in [Level::Root, Level::Range, Level::Single] {
        let world = World::new(level);
        let build = world.built(
            &format!(
                "{BASE}RUN cat /proc/self/mounts; grep -e ^Cap -e ^NoNewPrivs /proc/self/status\n"
            ),
            &[],
        );
        let lines: Vec<&str> =
            build.stderr.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
        let options = |path: &str| {
            lines.iter().rev().find_map(|line| {
                let mut words = line.split(' ');
                let (place, options) = (words.nth(1)?, words.nth(1)?);
                (place == path).then_some(options)
            })
        };
        for path in MASKED.iter().chain(READ_ONLY).filter(|path| Path::new(path).exists()) {
            assert!(options(path).is_some(), "as {level:?}: {path} is not covered: {lines:#?}");
        }
        let read_only = READ_ONLY.iter().chain(&["/sys"]).filter(|path| Path::new(path).exists());
        for path in read_only {
            let options = options(path).unwrap();
            assert!(
                options.split(',').any(|option| option == "ro"),
                "as {level:?}: {path}: {options}"
            );
        }
        let wanted = CAPABILITIES.iter().fold(0_u64, |set, bit| set | 1 << bit);
        for (set, wanted) in [
            ("CapInh", 0),
            ("CapPrm", wanted),
            ("CapEff", wanted),
            ("CapBnd", wanted),
            ("CapAmb", 0),
        ] {
            let line = lines.iter().find_map(|line| line.strip_prefix(set)?.strip_prefix(": "));
            assert_eq!(u64::from_str_radix(line.unwrap(), 16), Ok(wanted), "as {level:?}: {set}");
        }
        // As the reference has it, so that sudo and its like work; the bounding set is what confines them.
        let new = lines.iter().find_map(|line| line.strip_prefix("NoNewPrivs:"));
        assert_eq!(new.map(str::trim), Some("0"), "as {level:?}");
    }
}
