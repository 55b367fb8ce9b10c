//! The beginnings of names that people see: `[linux/amd64->arm64 build 2/3] `.

use super::args::Env;
use super::stage::Stage;
use crate::oci::Platform;

/// The place of a step in its stage, with `platform` before it unless that is empty.
pub(super) fn prefix(
    platform: &str,
    stage: &Stage,
    (index, total): (usize, usize),
    on_build: bool,
) -> String {
    let width = total.checked_ilog10().map_or(1, |digits| digits as usize + 1);
    let words = [platform, stage.display.as_str()].into_iter().filter(|word| !word.is_empty());
    let words: String = words.map(|word| format!("{word} ")).collect();
    let trigger = if on_build { "ONBUILD " } else { "" };
    format!("[{words}{index:width$}/{total}] {trigger}")
}

/// A stage's platform, and for which other one it makes something, if the variables that it has asked for say so.
pub(super) fn platform(platform: &Platform, env: &Env) -> String {
    let own = platform.format_all();
    let Some(target) = target(platform, env) else { return own };
    match (target.os == platform.os, target.architecture == platform.architecture) {
        (true, true) => own,
        (true, false) if target.variant.is_empty() => format!("{own}->{}", target.architecture),
        (true, false) => format!("{own}->{}/{}", target.architecture, target.variant),
        (false, _) => format!("{own}->{}", target.format_all()),
    }
}

/// What the variables of the target's platform say; what they leave open is as in `base`.
fn target(base: &Platform, env: &Env) -> Option<Platform> {
    let whole = env.get("TARGETPLATFORM").and_then(|text| Platform::parse(text).ok());
    if whole.is_some() {
        return whole;
    }
    let parts = ["TARGETOS", "TARGETARCH", "TARGETVARIANT"].map(|name| env.get(name));
    if parts.iter().all(Option::is_none) {
        return None;
    }
    let [os, architecture, variant] = parts.map(Option::unwrap_or_default);
    let or = |given: &str, default: &String| match given {
        "" => default.clone(),
        given => given.to_owned(),
    };
    let platform = Platform {
        os: or(os, &base.os),
        architecture: or(architecture, &base.architecture),
        variant: variant.to_owned(),
        ..Platform::default()
    };
    Some(platform.normalized())
}
