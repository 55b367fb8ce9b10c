//! The flags of `kiln build`: names and forms are those of `docker buildx build`.
//!
//! Plain text as the user typed it; `request` gives it meaning, `compat` has the flags that kiln ignores or refuses.

use super::compat::Compat;
use super::values::boolean;
use crate::cli::network::RegistryFlags;
use crate::cli::progress::Mode;
use crate::cli::snapshotter::Snapshotter;

/// The flags of `kiln build`.
#[derive(Debug, clap::Args)]
#[command(after_help = super::compat::help(), after_long_help = super::compat::help())]
pub(crate) struct Flags {
    /// The build context: a directory, a tar archive, or `-`: a tar archive or a lone Dockerfile on standard input
    #[arg(value_name = "CONTEXT", allow_hyphen_values = false)]
    pub(super) context: String,

    /// The Dockerfile; `-` reads standard input
    /// [default: CONTEXT/Dockerfile, else CONTEXT/dockerfile, else CONTEXT/Containerfile]
    #[arg(short, long, value_name = "PATH", help_heading = INPUT)]
    pub(super) file: Option<String>,
    /// Build this stage instead of the last one
    #[arg(long, value_name = "STAGE", help_heading = INPUT)]
    pub(super) target: Option<String>,
    /// Give an ARG a value; without a value, that of the environment variable of this name
    #[arg(long, value_name = "NAME[=VALUE]", allow_hyphen_values = true, help_heading = INPUT)]
    pub(super) build_arg: Vec<String>,
    /// Another context: a directory, oci-layout://DIR[:TAG|@DIGEST] or docker-image://REFERENCE
    #[arg(long, value_name = "NAME=VALUE", help_heading = INPUT)]
    pub(super) build_context: Vec<String>,
    /// Build for these platforms [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[,…]", value_delimiter = ',', help_heading = INPUT)]
    pub(super) platform: Vec<String>,
    /// Let RUN steps mount this secret [forms: id=ID[,src=FILE] id=ID,env=NAME]
    #[arg(long, value_name = "id=ID[,…]", help_heading = INPUT)]
    pub(super) secret: Vec<String>,
    /// Let RUN steps use this SSH agent [default socket: $SSH_AUTH_SOCK]
    #[arg(long, value_name = "default|ID[=SOCKET]", help_heading = INPUT)]
    pub(super) ssh: Vec<String>,

    /// Name the image in the local store, and in archives
    #[arg(short, long, value_name = "NAME[:TAG]", help_heading = RESULT)]
    pub(super) tag: Vec<String>,
    /// Write the result somewhere else [forms: DIR, -, type=oci|docker|local|tar|image|registry[,dest=PATH][,…]]
    #[arg(short, long, value_name = "OUTPUT", allow_hyphen_values = true, help_heading = RESULT)]
    pub(super) output: Vec<String>,
    /// Push the image to the registries of its names (the same as `--output type=registry`)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = RESULT)]
    pub(super) push: bool,
    /// Load the image into docker, or into podman where there is no docker (the same as `--output type=docker`)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = RESULT)]
    pub(super) load: bool,
    /// Add a label to the image
    #[arg(long, value_name = "NAME[=VALUE]", allow_hyphen_values = true, help_heading = RESULT)]
    pub(super) label: Vec<String>,
    /// Merge the layers that this build adds into one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = RESULT)]
    pub(super) squash: bool,
    /// Merge all layers into one, the base image's as well
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = RESULT)]
    pub(super) squash_all: bool,
    /// Write the image ID to this file
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    pub(super) iidfile: Option<std::path::PathBuf>,
    /// Write digests and names as JSON to this file
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    pub(super) metadata_file: Option<std::path::PathBuf>,

    /// Run every step again
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = STEPS)]
    pub(super) no_cache: bool,
    /// Run every step of these stages again
    #[arg(long, value_name = "STAGE[,…]", value_delimiter = ',', help_heading = STEPS)]
    pub(super) no_cache_filter: Vec<String>,
    /// Ask the registries anew what the names of base images stand for
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = STEPS)]
    pub(super) pull: bool,
    /// How many steps run at once [default: 4 for each processor, at least 16]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..), help_heading = STEPS)]
    pub(super) jobs: Option<u16>,
    /// The network of RUN steps: default, host, none, private, pasta or slirp4netns; default is the host's, private is
    /// made by pasta or slirp4netns
    #[arg(long, value_name = "MODE", default_value = "default", hide_default_value = true, help_heading = STEPS)]
    pub(super) network: String,
    /// What RUN may ask for: security.insecure, which has all rights that kiln has, or network.host, which a build that is
    /// given another network may not use
    #[arg(long, value_name = "ENTITLEMENT[,…]", value_delimiter = ',', help_heading = STEPS)]
    pub(super) allow: Vec<String>,
    /// How the file systems of RUN steps are made: auto, overlay or copy; auto is copy where overlays are refused
    #[arg(long, value_name = "KIND", value_enum, hide_possible_values = true, help_heading = STEPS)]
    pub(super) snapshotter: Option<Snapshotter>,
    /// Add a line to /etc/hosts of RUN steps; the address `host-gateway` is 127.0.0.1
    #[arg(long, value_name = "NAME=ADDRESS", help_heading = STEPS)]
    pub(super) add_host: Vec<String>,
    /// The size of /dev/shm in RUN steps, with unit b, k, m or g
    #[arg(long, value_name = "BYTES", help_heading = STEPS)]
    pub(super) shm_size: Option<String>,
    /// A resource limit of RUN steps; -1 is unlimited
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = STEPS)]
    pub(super) ulimit: Vec<String>,
    #[command(flatten)]
    pub(super) limits: crate::cli::limits::LimitFlags,
    /// A limit by its name, the flag's without dashes: memory=1g
    #[arg(long, value_name = "NAME=VALUE", help_heading = STEPS)]
    pub(super) resource: Vec<String>,

    /// Only check the Dockerfile: findings go to standard output; the exit code is 1 if there are any
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = DISPLAY)]
    pub(super) check: bool,
    /// What is done: build, or check (the same as `--check`)
    #[arg(long, value_name = "METHOD", default_value = "build", hide_default_value = true, value_enum,
          hide_possible_values = true, help_heading = DISPLAY)]
    pub(super) call: Call,
    /// How the build is shown: auto, tty, plain, rawjson, quiet or none
    /// [env: KILN_PROGRESS, BUILDKIT_PROGRESS]
    #[arg(long, value_name = "MODE", hide_possible_values = true, help_heading = DISPLAY)]
    pub(super) progress: Option<Mode>,
    /// Show errors only; the image ID is on standard output as always
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", default_value = "false", hide_default_value = true, help_heading = DISPLAY)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) reach: RegistryFlags,

    #[command(flatten)]
    pub(super) compat: Compat,
}

/// What is done with a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Call {
    /// It is built.
    Build,
    /// It is checked.
    Check,
}

const INPUT: &str = "What is built";
const RESULT: &str = "What becomes of it";
const STEPS: &str = "How steps run";
const DISPLAY: &str = "What is shown";
