//! Which credentials a registry is shown: given ones, those of a file, or those that a helper keeps.
//!
//! Asked only when a registry wants to be convinced. Within a file `credHelpers` come first, then `credsStore`, then
//! what the file itself holds, which podman may have put there for a single repository. What a helper said is
//! remembered for a few minutes, because it may be a token that does not live much longer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::credential_helper::{Helper, HelperError};
use super::{ConfigError, Credential, DockerConfig, Settings};
use crate::event::Cancel;
use crate::oci::Reference;

/// How long the answer of a helper is good for.
const REMEMBERED: Duration = Duration::from_secs(290);
/// What `credential-helpers` of `registries.conf` calls the files.
const FILES: &str = "containers-auth.json";

/// Everything that may have credentials.
pub(super) struct Credentials {
    given: Option<Credential>,
    files: Vec<DockerConfig>,
    /// Programs and `FILES`, in the order in which they are asked.
    order: Vec<String>,
    answers: Mutex<HashMap<Helper, (Instant, Option<Credential>)>>,
    cancel: Cancel,
}

impl Credentials {
    /// Reads the files; nobody is asked yet.
    pub(super) fn new(settings: &Settings, cancel: &Cancel) -> Result<Self, ConfigError> {
        let files =
            settings.auth_files.iter().map(DockerConfig::parse).collect::<Result<_, _>>()?;
        let mut order = settings.registries.credential_helpers().to_vec();
        if order.is_empty() {
            order.push(FILES.to_owned());
        }
        let (given, answers) = (settings.credential.clone(), Mutex::default());
        Ok(Self { given, files, order, answers, cancel: cancel.clone() })
    }

    /// Returns the credentials for a repository, if there are any.
    pub(super) fn of(&self, repository: &Reference) -> Result<Option<Credential>, HelperError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        for name in &self.order {
            let found = match name.as_str() {
                FILES => self.in_files(repository)?,
                name => {
                    let (name, server) = (name.to_owned(), repository.domain().to_owned());
                    self.ask(Helper { name, server })?
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn in_files(&self, repository: &Reference) -> Result<Option<Credential>, HelperError> {
        let domain = repository.domain();
        for file in &self.files {
            if let Some(helper) = file.helper(domain)
                && let Some(found) = self.ask(helper)?
            {
                return Ok(Some(found));
            }
            if let Some(found) = file.credential(&repository.name()) {
                return Ok(Some(found.clone()));
            }
        }
        Ok(None)
    }

    /// Asks a helper, one at a time: whoever wants to know the same meanwhile waits for the answer.
    fn ask(&self, helper: Helper) -> Result<Option<Credential>, HelperError> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, answer)) = answers.get(&helper)
            && when.elapsed() < REMEMBERED
        {
            return Ok(answer.clone());
        }
        let answer = helper.get(&self.cancel)?;
        answers.insert(helper, (Instant::now(), answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::AuthFile;

    fn password(username: &str) -> Credential {
        Credential::Password { username: username.to_owned(), password: "p".to_owned() }
    }

    #[test]
    fn the_first_file_that_has_some_is_taken() {
        let file = |text: &str| AuthFile { path: "/a".into(), bytes: text.as_bytes().to_vec() };
        let files = [
            r#"{"auths":{"a.io/x":{"username":"one","password":"p"}}}"#,
            r#"{"auths":{"a.io":{"username":"two","password":"p"}},"credHelpers":{"b.io":"no-such"}}"#,
        ];
        let settings = Settings { auth_files: files.map(file).to_vec(), ..Settings::default() };
        let of = |settings: &Settings, name: &str| {
            let credentials = Credentials::new(settings, &Cancel::new()).unwrap();
            credentials.of(&Reference::parse(name).unwrap())
        };
        assert_eq!(of(&settings, "a.io/x/y").unwrap(), Some(password("one")));
        assert_eq!(of(&settings, "a.io/z").unwrap(), Some(password("two")));
        assert_eq!(of(&settings, "c.io/z").unwrap(), None);
        let error = of(&settings, "b.io/z").unwrap_err();
        assert!(error.to_string().contains("`docker-credential-no-such`"), "{error}");
        let given = Settings { credential: Some(password("me")), ..settings };
        assert_eq!(of(&given, "b.io/z").unwrap(), Some(password("me")));
    }
}
