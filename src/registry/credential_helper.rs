//! Credential helpers: programs named `docker-credential-NAME` that keep credentials for docker and podman.
//!
//! What they are asked goes through their standard input and what they say is bounded; a secret is never an argument
//! and never in an error. One that does not answer in time, or when the user stops kiln, is ended.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Credential;
use crate::event::Cancel;

/// How long a helper may take: some ask the user for a passphrase.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How much a helper may say, in bytes.
const LIMIT: u64 = 1 << 20;
/// How often it is looked whether the user has stopped kiln.
const BEAT: Duration = Duration::from_millis(50);
/// The name of a user whose secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper says if it has nothing.
const NOT_FOUND: &str = "credentials not found";

/// A program that keeps credentials, and what it keeps them under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Helper {
    /// `docker-credential-` and this is the program.
    pub name: String,
    /// What it is asked for: a host, or a URL for Docker Hub.
    pub server: String,
}

/// Why a helper did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The program is not there.
    #[error("cannot find the credential helper `{program}` that is configured for `{server}`")]
    Missing {
        /// The program.
        program: String,
        /// The registry.
        server: String,
    },
    /// The program cannot be started or heard.
    #[error("cannot run the credential helper `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It said no.
    #[error("the credential helper `{program}` failed for `{server}`: {message}")]
    Failed {
        /// The program.
        program: String,
        /// The registry.
        server: String,
        /// What it said in one line, or how it ended.
        message: String,
    },
    /// It did not answer, or what it answered is nothing that a helper says.
    #[error("the credential helper `{program}` {problem}")]
    Answer {
        /// The program.
        program: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The user asked to stop.
    #[error("canceled")]
    Canceled,
}

impl HelperError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { program, .. } => {
                Some(format!("install `{program}`, or take it out of the configuration and log in"))
            }
            Self::Failed { program, server, .. } => {
                Some(format!("try it by hand: `echo {server} | {program} get`"))
            }
            Self::Run { .. } | Self::Answer { .. } | Self::Canceled => None,
        }
    }
}

/// What is said by and to a helper.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default, rename = "ServerURL")]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    /// Asks for the credentials; `None`: it has none.
    pub fn get(&self, cancel: &Cancel) -> Result<Option<Credential>, HelperError> {
        let said = match self.run("get", self.server.as_bytes(), (TIMEOUT, cancel)) {
            Err(HelperError::Failed { message, .. }) if message.contains(NOT_FOUND) => {
                return Ok(None);
            }
            said => said?,
        };
        credential(&said).map_err(|_| self.wrong("answers no credentials"))
    }

    /// Gives it credentials to keep.
    pub fn store(
        &self,
        username: &str,
        password: &str,
        cancel: &Cancel,
    ) -> Result<(), HelperError> {
        let (server, username, secret) =
            (self.server.clone(), username.to_owned(), password.to_owned());
        let entry = serde_json::to_vec(&Entry { server, username, secret });
        let entry = entry.map_err(|source| self.cannot_run(source.into()))?;
        self.run("store", &entry, (TIMEOUT, cancel)).map(drop)
    }

    /// Makes it forget the credentials; `false`: it had none.
    pub fn erase(&self, cancel: &Cancel) -> Result<bool, HelperError> {
        match self.run("erase", self.server.as_bytes(), (TIMEOUT, cancel)) {
            Ok(_) => Ok(true),
            Err(HelperError::Failed { message, .. }) if message.contains(NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn cannot_run(&self, source: io::Error) -> HelperError {
        HelperError::Run { program: self.program(), source }
    }

    fn wrong(&self, problem: &'static str) -> HelperError {
        HelperError::Answer { program: self.program(), problem }
    }

    /// Runs the program to its end and returns what it writes.
    fn run(
        &self,
        action: &str,
        input: &[u8],
        patience: (Duration, &Cancel),
    ) -> Result<Vec<u8>, HelperError> {
        let mut command = Command::new(self.program());
        command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                HelperError::Missing { program: self.program(), server: self.server.clone() }
            }
            _ => self.cannot_run(source),
        })?;
        let said = self.converse(&mut child, input, patience);
        if said.is_err() || !ends(&mut child, patience.0) {
            // It may have ended by itself.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|source| self.cannot_run(source))?;
        let said = said?;
        if status.success() {
            return Ok(said);
        }
        let (program, server) = (self.program(), self.server.clone());
        let message = complaint(&said).unwrap_or_else(|| status.to_string());
        Err(HelperError::Failed { program, server, message })
    }

    fn converse(
        &self,
        child: &mut Child,
        input: &[u8],
        (timeout, cancel): (Duration, &Cancel),
    ) -> Result<Vec<u8>, HelperError> {
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input) {
                // One that needs no input says so in its answer.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(self.cannot_run(error));
                }
                _ => {}
            }
        }
        let Some(stdout) = child.stdout.take() else { return Ok(Vec::new()) };
        let said = heard(stdout, timeout, cancel);
        let said = said.map_err(|silence| match silence {
            Silence::Late => self.wrong("does not answer"),
            Silence::Canceled => HelperError::Canceled,
            Silence::Broken(source) => self.cannot_run(source),
        })?;
        if said.len() as u64 > LIMIT { Err(self.wrong("says too much")) } else { Ok(said) }
    }
}

/// Reads what a helper answers.
fn credential(said: &[u8]) -> serde_json::Result<Option<Credential>> {
    let Entry { username, secret, .. } = serde_json::from_slice(said)?;
    Ok(match (username.as_str(), secret.is_empty()) {
        (_, true) => None,
        (TOKEN_USER, false) => Some(Credential::IdentityToken(secret)),
        (_, false) => Some(Credential::Password { username, password: secret }),
    })
}

/// Why nothing was heard.
#[derive(Debug)]
enum Silence {
    Late,
    Canceled,
    Broken(io::Error),
}

/// Reads to the end on a thread of its own, so that waiting has an end: who has the other side of the pipe may never
/// close it.
fn heard(stdout: ChildStdout, timeout: Duration, cancel: &Cancel) -> Result<Vec<u8>, Silence> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = stdout.take(LIMIT + 1).read_to_end(&mut said);
        // Nobody may be waiting any more.
        let _ = send.send(read.map(|_| said));
    });
    let end = Instant::now() + timeout;
    loop {
        match receive.recv_timeout(BEAT) {
            Ok(said) => return said.map_err(Silence::Broken),
            Err(RecvTimeoutError::Disconnected) => return Err(Silence::Late),
            Err(RecvTimeoutError::Timeout) if cancel.is_canceled() => {
                return Err(Silence::Canceled);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() >= end => return Err(Silence::Late),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Waits for the end of a program that has said everything.
fn ends(child: &mut Child, timeout: Duration) -> bool {
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    false
}

/// Returns the first line of an error that a helper wrote; credentials are none.
fn complaint(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let secret = line.contains('{') || text.contains("\"Secret\"");
    (!secret).then(|| line.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let helper = Helper { name: "no-such".to_owned(), server: "r.io".to_owned() };
        let error = helper.get(&Cancel::new()).unwrap_err();
        let expected = "cannot find the credential helper `docker-credential-no-such` that is configured for `r.io`";
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().contains("docker-credential-no-such"));
    }

    #[test]
    fn answers_are_passwords_or_tokens() {
        let read = |text: &str| credential(text.as_bytes()).ok();
        let password = Credential::Password { username: "me".to_owned(), password: "p".to_owned() };
        assert_eq!(
            read(r#"{"ServerURL":"r.io","Username":"me","Secret":"p"}"#),
            Some(Some(password))
        );
        let token = Credential::IdentityToken("t".to_owned());
        assert_eq!(read(r#"{"Username":"<token>","Secret":"t"}"#), Some(Some(token)));
        assert_eq!(read(r#"{"Username":"","Secret":""}"#), Some(None));
        assert_eq!(read("p"), None);
    }

    #[test]
    fn one_that_says_nothing_is_not_waited_for() {
        let mut child = Command::new("sleep").arg("600").stdout(Stdio::piped()).spawn().unwrap();
        let (mut late, cancel) = (Command::new("sleep"), Cancel::new());
        let mut late = late.arg("600").stdout(Stdio::piped()).spawn().unwrap();
        let silence = heard(late.stdout.take().unwrap(), Duration::ZERO, &cancel);
        assert!(matches!(silence, Err(Silence::Late)), "{silence:?}");
        cancel.cancel();
        let silence = heard(child.stdout.take().unwrap(), TIMEOUT, &cancel);
        assert!(matches!(silence, Err(Silence::Canceled)), "{silence:?}");
        assert!(!ends(&mut child, Duration::ZERO));
        for mut child in [child, late] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn complaints_have_no_secrets() {
        assert_eq!(
            complaint(b"\n  no keychain\x1b here \nmore"),
            Some("no keychain here".to_owned())
        );
        assert_eq!(complaint(b"{\"Secret\":\"s3cret\"}"), None);
        assert_eq!(complaint(b"x\n\"Secret\": \"s3cret\""), None);
        assert_eq!(complaint(b"\n"), None);
    }
}
