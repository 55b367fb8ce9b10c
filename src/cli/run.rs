//! `kiln run`: an image's process in the foreground; its exit code is kiln's.

use std::path::{Path, PathBuf};

use clap::Args;
use kiln::event::Cancel;
use kiln::runner::{self, Request};
use kiln::sandbox::spec::Network;
use signal_hook::consts::{SIGINT, SIGQUIT};

use super::{Done, Failure, build};

#[derive(Debug, Args)]
pub(super) struct RunFlags {
    /// The image
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
    /// The network: host or none
    #[arg(long, value_name = "MODE", default_value = "host")]
    network: String,
    /// A limit: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
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
}

pub(super) fn run(root: &Path, flags: RunFlags) -> Done {
    let network = match flags.network.as_str() {
        "host" | "default" => Network::Host,
        "none" => Network::None,
        other => {
            return Err(Failure::input(format!("unknown network `{other}`"), "use host or none"));
        }
    };
    let variable = |text: &String| match text.contains('=') {
        true => Some(text.clone()),
        false => std::env::var(text).ok().map(|value| format!("{text}={value}")),
    };
    let request = Request {
        state: root.to_owned(),
        init: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
        image: flags.image,
        command: flags.command,
        entrypoint: flags
            .entrypoint
            .map(|program| Some(program).filter(|p| !p.is_empty()).into_iter().collect()),
        env: flags.env.iter().filter_map(variable).collect(),
        user: flags.user,
        workdir: flags.workdir,
        network,
        ulimits: flags.ulimit.iter().map(|text| build::ulimit(text)).collect::<Result<_, _>>()?,
        hostname: flags.hostname,
        registry: build::registry_settings(),
    };
    // The process shares the terminal and gets Ctrl-C itself; kiln only waits for it.
    for signal in [SIGINT, SIGQUIT] {
        let _ = signal_hook::flag::register(signal, std::sync::Arc::default());
    }
    match runner::run(&request, &Cancel::new())?.code() {
        0 => Ok(()),
        code => Err(Failure::Code(code)),
    }
}
