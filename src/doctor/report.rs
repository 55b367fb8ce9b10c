//! What facts mean, and what to do about them. Nothing is looked at here.

use super::{Facts, Finding, Helper, Report, Status, Subordinate};
use crate::sandbox::{Container, Level, kernel_version};

use super::facts::Control;

/// The first kernel with everything that a sandbox is made with.
const NEEDED: (u32, u32) = (5, 12);
/// The first that takes the layers of an overlay one by one.
const MANY_LAYERS: (u32, u32) = (6, 7);
/// Less room than this is little.
const LITTLE: u64 = 2 << 30;

impl Report {
    /// Says what facts mean.
    pub fn of(facts: &Facts) -> Self {
        let mut findings = vec![kernel(facts), rights(facts), ids(facts), sandbox(facts)];
        findings.extend(hidden(facts));
        findings.extend([overlay(facts), state(facts), control(facts), network(facts)]);
        findings.extend([foreign(facts), credentials(facts)]);
        let runs = facts.sandbox.is_ok() && facts.state.usable.is_ok();
        Self { findings, runs }
    }
}

fn finding(
    subject: &'static str,
    status: Status,
    found: impl Into<String>,
    fix: Option<String>,
) -> Finding {
    Finding { subject, status, found: found.into(), fix }
}

fn kernel(facts: &Facts) -> Finding {
    let release = &facts.kernel;
    let version = kernel_version(release).unwrap_or_default();
    let say =
        |status, what: &str, fix| finding("kernel", status, format!("Linux {release}{what}"), fix);
    let newer = |what: &str| Some(format!("a newer kernel: {what}"));
    if version < NEEDED {
        let fix = newer("Linux 5.12 has the mounts that RUN needs");
        return say(Status::Missing, ", too old for RUN", fix);
    }
    if version < MANY_LAYERS {
        let what = "; an overlay takes about 150 layers";
        return say(Status::Limited, what, newer("Linux 6.7 takes 500 layers"));
    }
    if !facts.notifies {
        let what = ", without notification of system calls (seccomp user_notif)";
        return say(Status::Limited, what, newer("one built with CONFIG_SECCOMP_FILTER"));
    }
    say(Status::Ok, "", None)
}

fn rights(facts: &Facts) -> Finding {
    let uid = facts.uid;
    let inside = match facts.surroundings.container {
        None => "",
        Some(Container::Docker) => ", in a docker container",
        Some(Container::Podman) => ", in a podman container",
        Some(Container::Kubernetes) => ", in a pod",
        Some(Container::Other) => ", in a container",
    };
    let say = |status, what: String, fix| finding("rights", status, what + inside, fix);
    match &facts.level {
        Ok(Level::Root) => say(Status::Ok, "root".to_owned(), None),
        Ok(Level::Range) => {
            say(Status::Ok, format!("user {uid}, root of a user namespace with many ids"), None)
        }
        Ok(Level::Single) => {
            let what = format!("user {uid}, root of a user namespace with a single id");
            say(Status::Limited, what, None)
        }
        Ok(Level::Outside) => say(
            Status::Missing,
            format!("user {uid}, and no user namespace: RUN cannot work, COPY and ADD do"),
            Some(facts.surroundings.fix()),
        ),
        Err(why) => say(
            Status::Missing,
            format!("user {uid}, and no rights: {why}"),
            Some(facts.surroundings.fix()),
        ),
    }
}

fn ids(facts: &Facts) -> Finding {
    let say = |status, found: String, fix| finding("ids", status, found, fix);
    if facts.uid == 0 {
        return match facts.level {
            Ok(Level::Single) => {
                let fix = "keep the container's default capabilities (SETUID, SETGID, SETFCAP)";
                say(Status::Limited, "root alone".to_owned(), Some(fix.to_owned()))
            }
            Ok(Level::Outside) | Err(_) => {
                say(Status::Missing, "none without a user namespace".to_owned(), None)
            }
            _ => say(Status::Ok, "all that there are".to_owned(), None),
        };
    }
    let user = &facts.uids.user;
    let (uids, gids) = (&facts.uids, &facts.gids);
    if uids.helper == Helper::Missing || gids.helper == Helper::Missing {
        let fix = "`apt install uidmap` (Debian, Ubuntu) or `dnf install shadow-utils` (Fedora)";
        return say(Status::Limited, "no newuidmap and newgidmap".to_owned(), Some(fix.to_owned()));
    }
    let Some(((first, count), (first_group, groups))) = uids.range.zip(gids.range) else {
        let fix = format!(
            "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}` \
             (a range that /etc/subuid gives nobody else)"
        );
        return say(
            Status::Limited,
            format!("none for `{user}` in {}", missing_ranges(uids, gids)),
            Some(fix),
        );
    };
    for Subordinate { helper, .. } in [uids, gids] {
        if let Helper::Powerless(path) = helper {
            let path = path.display();
            let found = format!("`{path}` is neither setuid nor has it capabilities");
            let fix = format!("`sudo chmod u+s {path}`");
            return say(Status::Limited, found, Some(fix));
        }
    }
    let found = format!("{count} users from {first}, {groups} groups from {first_group}");
    say(Status::Ok, found, None)
}

fn missing_ranges(uids: &Subordinate, gids: &Subordinate) -> &'static str {
    match (uids.range, gids.range) {
        (None, None) => "/etc/subuid and /etc/subgid",
        (None, Some(_)) => "/etc/subuid",
        (Some(_), _) => "/etc/subgid",
    }
}

fn sandbox(facts: &Facts) -> Finding {
    match &facts.sandbox {
        Ok(()) => {
            let filter =
                if facts.surroundings.filtered { ", in the filter around kiln" } else { "" };
            finding("sandbox", Status::Ok, format!("commands run{filter}"), None)
        }
        Err(why) => {
            finding("sandbox", Status::Missing, why.clone(), Some(facts.surroundings.fix()))
        }
    }
}

/// That a container's processes are seen is worth saying only where it is so.
fn hidden(facts: &Facts) -> Option<Finding> {
    let inside = matches!(facts.level, Ok(Level::Range | Level::Single));
    if !facts.proc_covered || !inside || facts.sandbox.is_err() {
        return None;
    }
    let fix = match facts.surroundings.container {
        Some(Container::Docker) => "`docker run --security-opt systempaths=unconfined …`",
        Some(Container::Podman) => "`podman run --security-opt unmask=ALL …`",
        Some(Container::Kubernetes) => {
            "in the pod's `securityContext`: `procMount: Unmasked`, with `hostUsers: false`"
        }
        Some(Container::Other) | None => "let the container show all of /proc",
    };
    let found = "RUN steps see the container's processes, for its /proc is covered in parts";
    Some(finding("processes", Status::Limited, found, Some(fix.to_owned())))
}

fn overlay(facts: &Facts) -> Finding {
    match (&facts.overlay, &facts.sandbox) {
        (Ok(()), _) => finding("overlay", Status::Ok, "RUN steps work on overlays", None),
        (Err(_), Err(_)) => {
            finding("overlay", Status::Missing, "not tried without a sandbox", None)
        }
        (Err(why), Ok(())) => {
            let fix = match facts.state.file_system.as_str() {
                "overlay" => "put the state root on a volume: `--root DIR` or KILN_ROOT".to_owned(),
                other if other.starts_with("nfs") || other.starts_with("fuse") => {
                    format!(
                        "put the state root on a local disk, not on {other}: `--root DIR` or KILN_ROOT"
                    )
                }
                _ => "`modprobe overlay`; as an ordinary user this needs Linux 5.11".to_owned(),
            };
            let found = format!("RUN steps work on copies, slower and larger: {why}");
            finding("overlay", Status::Limited, found, Some(fix))
        }
    }
}

fn state(facts: &Facts) -> Finding {
    let state = &facts.state;
    let path = state.path.display();
    if let Err(why) = &state.usable {
        let fix = "`--root DIR` or KILN_ROOT: a directory that you may write to";
        return finding("state", Status::Missing, why.clone(), Some(fix.to_owned()));
    }
    let found = format!("`{path}` on {}, {} free", state.file_system, size(state.free));
    if state.free < LITTLE {
        let fix = "`kiln prune`, or another place: `--root DIR` or KILN_ROOT".to_owned();
        return finding("state", Status::Limited, found, Some(fix));
    }
    finding("state", Status::Ok, found, None)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn control(facts: &Facts) -> Finding {
    let unified = "start the machine with `systemd.unified_cgroup_hierarchy=1`".to_owned();
    match &facts.control {
        Control::Old => finding(
            "cgroups",
            Status::Limited,
            "no unified hierarchy: memory and time of steps cannot be limited",
            Some(unified),
        ),
        Control::Unified { controllers, writable } => {
            let wanted = ["pids", "memory", "cpu"];
            let has = |name: &&&str| controllers.iter().any(|own| own == **name);
            let (there, lacking): (Vec<&str>, Vec<&str>) = {
                let (there, lacking): (Vec<&&str>, Vec<&&str>) = wanted.iter().partition(has);
                (there.into_iter().copied().collect(), lacking.into_iter().copied().collect())
            };
            let delegate = match facts.uid {
                0 => {
                    "let the container write to its own group (`--cgroupns=private`, not read-only)"
                }
                _ => "`systemd-run --user --scope -p Delegate=yes kiln build …`",
            };
            if !writable {
                let found = "version 2, and kiln may make no groups: nothing can be limited";
                return finding("cgroups", Status::Limited, found, Some(delegate.to_owned()));
            }
            let found = format!("version 2, with {}", list(&there));
            match lacking.is_empty() {
                true => finding("cgroups", Status::Ok, found, None),
                false => {
                    let found = format!("{found}, without {}", list(&lacking));
                    finding("cgroups", Status::Limited, found, Some(delegate.to_owned()))
                }
            }
        }
    }
}

fn list(words: &[&str]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn network(facts: &Facts) -> Finding {
    let say = |status, found: String, fix| finding("network", status, found, fix);
    if let Err(why) = &facts.no_network {
        return match facts.sandbox {
            Ok(()) => {
                let found = format!("host only: {why}");
                say(Status::Limited, found, Some(facts.surroundings.fix()))
            }
            Err(_) => say(Status::Missing, "not tried without a sandbox".to_owned(), None),
        };
    }
    let Some((gateway, path)) = facts.gateways.first() else {
        let fix = "`apt install passt`, `dnf install passt`, or the package slirp4netns";
        let found = "host and none; no program here makes a private one".to_owned();
        return say(Status::Limited, found, Some(fix.to_owned()));
    };
    if let Err(why) = &facts.private {
        let fix = match why.contains("/dev/net/tun") {
            true => {
                "`sudo modprobe tun && sudo chmod 666 /dev/net/tun`; for a container `--device /dev/net/tun`"
            }
            false => "--network=host or none, or the other of passt and slirp4netns",
        };
        let found = format!("host and none; {why}");
        return say(Status::Limited, found, Some(fix.to_owned()));
    }
    let (name, path) = (gateway.name(), path.display());
    say(Status::Ok, format!("host, none, and private by {name} (`{path}`)"), None)
}

fn foreign(facts: &Facts) -> Finding {
    let install = "`apt install qemu-user-static binfmt-support`, or \
                   `docker run --privileged --rm tonistiigi/binfmt --install all`";
    let say = |status, found: String, fix| finding("platforms", status, found, fix);
    match facts.foreign.as_deref() {
        None => say(
            Status::Limited,
            "what the kernel can emulate is not to be seen: it is tried".to_owned(),
            Some(
                "`mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc` on the host"
                    .to_owned(),
            ),
        ),
        Some([]) => say(
            Status::Limited,
            "RUN works for this machine's CPU only".to_owned(),
            Some(install.to_owned()),
        ),
        Some(found) => {
            let names = |held| {
                let of = found.iter().filter(move |foreign| foreign.held == held);
                of.map(|foreign| foreign.architecture).collect::<Vec<_>>()
            };
            let (held, mounted) = (names(true), names(false));
            let mut said =
                format!("RUN works for {} as well", list(&[held, mounted.clone()].concat()));
            if !mounted.is_empty() {
                said.push_str(&format!(
                    " (without flag F, mounted into steps: {})",
                    list(&mounted)
                ));
            }
            say(Status::Ok, said, None)
        }
    }
}

fn credentials(facts: &Facts) -> Finding {
    let files = &facts.credentials;
    if files.is_empty() {
        return finding("credentials", Status::Ok, "none; `kiln login REGISTRY` keeps some", None);
    }
    for file in files {
        if let Some(problem) = &file.problem {
            let fix = format!("correct or remove `{}`", file.path.display());
            return finding("credentials", Status::Limited, problem.clone(), Some(fix));
        }
        if let Some((name, _)) = file.helpers.iter().find(|(_, there)| !there) {
            let found = format!("`{}` names `{name}`, which is not in PATH", file.path.display());
            let fix = format!("install `{name}`, or remove it from that file");
            return finding("credentials", Status::Limited, found, Some(fix));
        }
    }
    let helpers: Vec<&str> =
        files.iter().flat_map(|file| &file.helpers).map(|(name, _)| name.as_str()).collect();
    let paths: Vec<String> =
        files.iter().map(|file| format!("`{}`", file.path.display())).collect();
    let with =
        if helpers.is_empty() { String::new() } else { format!(", with {}", list(&helpers)) };
    finding("credentials", Status::Ok, paths.join(", ") + &with, None)
}

#[cfg(test)]
mod tests;
