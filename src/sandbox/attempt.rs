//! Making a sandbox only to see whether it can be made.

use super::spec::{Limits, Network, Process, Root, Security, Spec, User};
use super::{Error, Io, Sandbox};
use crate::event::Cancel;

/// Makes a sandbox with this root and network, for a command that is not there.
pub fn try_root(sandbox: &dyn Sandbox, root: Root, network: Network) -> Result<(), Error> {
    let process = Process {
        args: vec!["/nothing".to_owned()],
        env: Vec::new(),
        cwd: "/".into(),
        user: User::default(),
        rlimits: Vec::new(),
    };
    let spec = Spec {
        root,
        owned_below: Vec::new(),
        mounts: Vec::new(),
        process,
        network,
        security: Security::Default,
        hostname: "kiln".to_owned(),
        extra_hosts: Vec::new(),
        shm_size: 0,
        limits: Limits::default(),
    };
    sandbox.run(&spec, Io::Piped(&mut |_, _| {}), &Cancel::new()).map(drop)
}
