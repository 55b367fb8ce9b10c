//! Which Windows runs images made for which, as containerd's rules have it: kiln builds such images (COPY, no RUN) and
//! must pick the base that the machine will take on which they are to run.

/// Releases whose kernel interface is kept: a later Windows runs what was made for the one before.
const STABLE: [u16; 2] = [20348, 26100];

/// Major, minor and build.
type Version = (u8, u8, u16);

/// Returns whether a machine of version `host` runs an image of version `image`; a version that is not given, and a
/// host's that is none, may be any.
pub(super) fn runs(host: &str, image: &str) -> bool {
    let Some(host) = version(host) else { return true };
    if image.is_empty() {
        return true;
    }
    let image = version(image).unwrap_or_default();
    if (host.0, host.1) != (image.0, image.1) {
        return false;
    }
    if host.2 < STABLE[0] {
        return host.2 == image.2;
    }
    let oldest = STABLE.into_iter().rev().find(|stable| host.2 > *stable).unwrap_or(STABLE[0]);
    (oldest..=host.2).contains(&image.2)
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    let (major, minor, build) = (parts.next()?, parts.next()?, parts.next()?);
    let version = (major.parse().ok()?, minor.parse().ok()?, build.parse().ok()?);
    Some(version).filter(|version| *version != Version::default())
}
