//! What around kiln has a say in user namespaces, and how to be allowed one.

use std::fs;
use std::path::Path;

/// What around kiln has a say in user namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// In which container kiln is.
    pub container: Option<Container>,
    /// `user.max_user_namespaces`
    pub most_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, which only some kernels have.
    pub unprivileged_clone: Option<bool>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, which only some kernels have.
    pub apparmor_restricts: bool,
    /// Whether a system call filter is on kiln.
    pub filtered: bool,
}

/// A kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// One of docker's.
    Docker,
    /// One of podman's or buildah's.
    Podman,
    /// One in a pod.
    Kubernetes,
    /// Another.
    Other,
}

impl Surroundings {
    /// Looks around.
    pub fn look() -> Self {
        let number = |name: &str| {
            let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            container: container(),
            most_namespaces: number("user/max_user_namespaces"),
            unprivileged_clone: number("kernel/unprivileged_userns_clone").map(|flag| flag != 0),
            apparmor_restricts: number("kernel/apparmor_restrict_unprivileged_userns") == Some(1),
            filtered: seccomp.is_some_and(|mode| mode.trim() == "2"),
        }
    }

    /// Returns how to be allowed a user namespace and what kiln does in it.
    pub fn fix(&self) -> String {
        let keep = |setting: &str| {
            format!(
                "`sysctl -w {setting}`, and `{setting}` in /etc/sysctl.d/99-kiln.conf to keep it"
            )
        };
        if self.most_namespaces == Some(0) {
            return keep("user.max_user_namespaces=15000");
        }
        if self.unprivileged_clone == Some(false) {
            return keep("kernel.unprivileged_userns_clone=1");
        }
        let fix = match self.container {
            Some(Container::Docker) => {
                "`docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …`"
            }
            Some(Container::Podman) => {
                "`podman run --cap-add SETFCAP,SETUID,SETGID …`, or if that is not enough \
                 `--security-opt seccomp=unconfined`"
            }
            Some(Container::Kubernetes) => {
                "in the pod's `securityContext`: `seccompProfile: {type: Unconfined}` and \
                 `appArmorProfile: {type: Unconfined}`"
            }
            Some(Container::Other) => {
                "let the container make user namespaces: its system call filter or its rules refuse them"
            }
            None if self.apparmor_restricts => {
                return keep("kernel.apparmor_restrict_unprivileged_userns=0");
            }
            None if self.filtered => {
                "a system call filter around kiln refuses user namespaces: start kiln without it, in a \
                 Dockerfile by `RUN --security=insecure`"
            }
            None => "run kiln as root",
        };
        fix.to_owned()
    }
}

fn container() -> Option<Container> {
    let there = |path: &str| Path::new(path).exists();
    if there("/var/run/secrets/kubernetes.io") {
        Some(Container::Kubernetes)
    } else if there("/run/.containerenv") {
        Some(Container::Podman)
    } else if there("/.dockerenv") {
        Some(Container::Docker)
    } else {
        there("/run/systemd/container").then_some(Container::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_cause_has_its_own_fix() {
        let docker = Surroundings { container: Some(Container::Docker), ..Default::default() };
        assert!(docker.fix().contains("docker run --security-opt seccomp=unconfined"));
        let none = Surroundings { most_namespaces: Some(0), ..docker.clone() };
        assert!(none.fix().starts_with("`sysctl -w user.max_user_namespaces=15000`"));
        let debian = Surroundings { unprivileged_clone: Some(false), ..docker };
        assert!(debian.fix().contains("kernel.unprivileged_userns_clone=1"));
        let ubuntu = Surroundings { apparmor_restricts: true, ..Default::default() };
        assert!(ubuntu.fix().contains("apparmor_restrict_unprivileged_userns=0"));
        let filtered = Surroundings { filtered: true, ..Default::default() };
        assert!(filtered.fix().contains("filter"));
        assert_eq!(Surroundings::default().fix(), "run kiln as root");
    }
}
