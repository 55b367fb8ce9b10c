//! `# check=`: which lint rules are skipped, and whether a finding is an error.
//!
//! kiln does not lint yet, so the options are read and checked, and the one that could change whether a build
//! succeeds is pointed out.

use super::{GraphError, Request};
use crate::dockerfile::ast::Dockerfile;

/// Reads the options; returns what should be said to the user.
pub(super) fn check(file: &Dockerfile, request: &Request) -> Result<Option<String>, GraphError> {
    let directive = file.directives.iter().find(|directive| directive.name == "check");
    let given = request.build_args.get("BUILDKIT_DOCKERFILE_CHECK");
    let text = given.or(directive.map(|directive| &directive.value)).map_or("", |text| text.trim());
    if text.is_empty() {
        return Ok(None);
    }
    let mut is_error = false;
    for part in text.splitn(3, ';') {
        let bad = || {
            let error = GraphError::new(format!("`{part}` is no check option"));
            let error = error
                .hint("the options are `skip=`, `error=` and `experimental=`, separated by `;`");
            directive.filter(|_| given.is_none()).map_or(error.clone(), |d| error.at(d.span))
        };
        let (key, value) = part.split_once('=').ok_or_else(bad)?;
        match (key.trim(), value.trim()) {
            ("skip" | "experimental", _) => {}
            ("error", "1" | "t" | "T" | "true" | "TRUE" | "True") => is_error = true,
            ("error", "0" | "f" | "F" | "false" | "FALSE" | "False") => {}
            _ => return Err(bad()),
        }
    }
    let message = "`check=error=true` has no effect: kiln does not check Dockerfiles for style yet";
    Ok(is_error.then(|| message.to_owned()))
}
