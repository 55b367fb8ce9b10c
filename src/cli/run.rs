//! `kiln run`: an image's process in the foreground; its exit code is kiln's.

use std::path::PathBuf;

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::{Cancel, Event};
use kiln::runner::{self, Request};
use kiln::sandbox::spec::Network;
use signal_hook::consts::{SIGINT, SIGQUIT};

use super::gateway::gateway;
use super::limits::LimitFlags;
use super::network::RegistryFlags;
use super::snapshotter::Snapshotter;
use super::{Done, Failure, INIT, Session, build, enter_sandbox, report, say, settle};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// What runs in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Set a variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Run in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// What runs in place of the image's entry point; empty: nothing
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The network: host, none, private, pasta or slirp4netns; private is made by one of the last two
    #[arg(long, value_name = "MODE", default_value = "host")]
    network: String,
    /// How the file system is made: auto, overlay or copy; auto is copy where overlays are refused
    #[arg(long, value_name = "KIND", value_enum, hide_possible_values = true)]
    snapshotter: Option<Snapshotter>,
    /// A limit: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    #[command(flatten)]
    limits: LimitFlags,
    /// The host name inside
    #[arg(long, value_name = "NAME", default_value = "kiln")]
    hostname: String,
    /// Nothing is kept in any case
    #[arg(long, hide = true)]
    rm: bool,
    /// Input and terminal are passed on in any case
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Input and terminal are passed on in any case
    #[arg(short, long, hide = true)]
    tty: bool,
    #[command(flatten)]
    reach: RegistryFlags,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let request = request(flags, session)?;
    enter_sandbox()?;
    // The process shares the terminal and gets Ctrl-C itself; kiln only waits for it.
    for signal in [SIGINT, SIGQUIT] {
        let _ = signal_hook::flag::register(signal, std::sync::Arc::default());
    }
    let reporter = |event| {
        if let Event::Warning { message } = event {
            say(&report::warning(&message, &session.terminal));
        }
    };
    let ran = runner::run(&request, &reporter, &Cancel::new())?;
    if ran.wrote {
        settle::in_background(&request.state);
    }
    match ran.exit.code() {
        0 => Ok(()),
        code => Err(Failure::Code(code)),
    }
}

fn request(flags: &Flags, session: &Session) -> Result<Request, Diagnostic> {
    let environment = &session.environment;
    let variable = |text: &String| match text.contains('=') {
        true => Some(text.clone()),
        false => environment.get(text).map(|value| format!("{text}={value}")),
    };
    let registry = session.registry(&flags.reach)?;
    Ok(Request {
        state: session.state_root()?,
        init: PathBuf::from(INIT),
        image: flags.image.clone(),
        command: flags.command.clone(),
        entrypoint: flags.entrypoint.clone().map(|program| {
            Some(program).filter(|program| !program.is_empty()).into_iter().collect()
        }),
        env: flags.env.iter().filter_map(variable).collect(),
        user: flags.user.clone(),
        workdir: flags.workdir.clone(),
        network: network(&flags.network)?,
        ulimits: flags.ulimit.iter().map(|text| build::ulimit(text)).collect::<Result<_, _>>()?,
        limits: flags.limits.limits(&[])?,
        hostname: flags.hostname.clone(),
        snapshotter: Snapshotter::choose(flags.snapshotter, session.config()?.snapshotter),
        registry,
        keep_storage: session.config()?.keep_storage,
    })
}

fn network(mode: &str) -> Result<Network, Diagnostic> {
    match mode {
        "host" | "default" => Ok(Network::Host),
        "none" => Ok(Network::None),
        other => match gateway(other) {
            Some(gateway) => gateway.map(Network::Private),
            None => Err(Diagnostic::new(Blame::Input, format!("unknown network `{other}`")).hint(
                Some("the networks are host, none, private, pasta and slirp4netns".to_owned()),
            )),
        },
    }
}
