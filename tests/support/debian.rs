//! Debian's packages as a root file system, made once by mmdebstrap from the mirror that this machine's apt uses, and
//! kept under target/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::printed;

/// The name of this machine's Debian release.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.expect("Debian's /etc/os-release has a VERSION_CODENAME").to_owned()
}

/// The files in which apt is told where the release's packages are.
fn sources(release: &str) -> Vec<PathBuf> {
    let further = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let further = further.map(|entry| entry.unwrap().path());
    let names_release = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .any(|line| !line.starts_with('#') && line.split_whitespace().any(|w| w == release))
    };
    let all = [PathBuf::from("/etc/apt/sources.list")].into_iter().chain(further);
    let mut sources: Vec<_> = all.filter(names_release).collect();
    sources.sort();
    sources
}

/// A folder with Debian's essential packages and these as `rootfs.tar.xz`, and what the hooks (more arguments of
/// mmdebstrap) put beside it; they are told where that is.
pub(crate) fn rootfs(packages: &str, hooks: impl Fn(&str) -> Vec<String>) -> PathBuf {
    let release = release();
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kept = tmp.join(format!("debian-{release}-{packages}"));
    if kept.exists() {
        return kept;
    }
    let making = tempfile::tempdir_in(tmp).unwrap();
    let at = making.path().display().to_string();
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=essential", "--include", packages]);
    command.args(["--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Languages \"none\""]);
    for unused in ["doc", "locale", "man"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unused}/*"));
    }
    command.args(hooks(&at));
    command.args([&release, &format!("{at}/rootfs.tar.xz")]).args(sources(&release));
    // Small enough, and soon done.
    command.env("XZ_OPT", "--threads=0 -0");
    printed("mmdebstrap", &mut command);
    // Another process may have been as fast.
    drop(fs::rename(making.keep(), &kept));
    kept
}
