//! The flags of `kiln build`, as clap reads them. Names and meanings are those of `docker build` and `buildx build`.

use clap::{ArgAction, Args};

/// Build an image from a Dockerfile
#[derive(Debug, Args)]
pub(super) struct BuildFlags {
    /// The build context: a directory, a tar archive, or `-` for standard input
    #[arg(value_name = "CONTEXT")]
    pub(super) context: String,

    /// The Dockerfile (default: CONTEXT/Dockerfile, else CONTEXT/Containerfile); `-`: standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<String>,
    /// Name the image, `name[:tag]`
    #[arg(short, long, value_name = "NAME")]
    pub(super) tag: Vec<String>,
    /// Build this stage and what it needs
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) build_arg: Vec<String>,
    /// Name a further context: a directory, docker-image://NAME or oci-layout://DIR[:TAG]
    #[arg(long, value_name = "NAME=CONTEXT")]
    pub(super) build_context: Vec<String>,
    /// Add a label to the image
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) label: Vec<String>,
    /// Build for this platform, e.g. linux/arm64
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',', env = "DOCKER_DEFAULT_PLATFORM")]
    pub(super) platform: Vec<String>,
    /// Write the result: type=image|oci|docker|local|tar with dest=, tar=, compression=gzip|zstd|uncompressed,
    /// compression-level=, force-compression=; or a directory; or `-` for a tar on standard output
    #[arg(short, long, value_name = "OUTPUT")]
    pub(super) output: Vec<String>,
    /// Merge the layers that this build adds into one
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false", require_equals = true, value_name = "BOOL")]
    pub(super) squash: bool,
    /// Merge all layers, the base's as well
    #[arg(long)]
    pub(super) squash_all: bool,

    /// Use no cached results
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false", require_equals = true, value_name = "BOOL")]
    pub(super) no_cache: bool,
    /// Use no cached results of these stages
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    pub(super) no_cache_filter: Vec<String>,
    /// Look up every base image again
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false", require_equals = true, value_name = "BOOL")]
    pub(super) pull: bool,
    /// How many steps may run at once (default: the number of cores)
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<usize>,

    /// The network of RUN steps: default, host or none
    #[arg(long, value_name = "MODE", default_value = "default")]
    pub(super) network: String,
    /// Give steps a secret: id=NAME[,src=FILE|,env=VARIABLE]
    #[arg(long, value_name = "SECRET")]
    pub(super) secret: Vec<String>,
    /// Give steps an SSH agent: default or ID[=SOCKET]
    #[arg(long, value_name = "AGENT", num_args = 0..=1, default_missing_value = "default")]
    pub(super) ssh: Vec<String>,
    /// Add a line to /etc/hosts of steps: HOST:ADDRESS
    #[arg(long, value_name = "HOST:ADDRESS")]
    pub(super) add_host: Vec<String>,
    /// The size of /dev/shm in steps, e.g. 128m
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<String>,
    /// A limit of steps: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    pub(super) ulimit: Vec<String>,

    /// Write the image id to a file
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<std::path::PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<std::path::PathBuf>,
    /// How progress is shown: auto, tty, plain, rawjson, quiet or none
    #[arg(long, value_name = "KIND", env = "BUILDKIT_PROGRESS")]
    pub(super) progress: Option<String>,
    /// Say nothing but the image id
    #[arg(short, long)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) ignored: Ignored,
    #[command(flatten)]
    pub(super) unsupported: Unsupported,
}

/// Flags that docker accepts and that change nothing in kiln either.
#[derive(Debug, Args)]
pub(super) struct Ignored {
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    rm: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    force_rm: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    compress: Option<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
    /// kiln keeps what it builds in its own store in any case.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) load: Option<String>,
}

/// Flags that kiln knows but cannot honour yet: they fail instead of being ignored.
#[derive(Debug, Args)]
pub(super) struct Unsupported {
    #[arg(long, hide = true)]
    allow: Vec<String>,
    #[arg(long, hide = true)]
    annotation: Vec<String>,
    #[arg(long, hide = true)]
    attest: Vec<String>,
    #[arg(long, hide = true)]
    cache_from: Vec<String>,
    #[arg(long, hide = true)]
    cache_to: Vec<String>,
    #[arg(long, hide = true)]
    call: Option<String>,
    #[arg(long, hide = true)]
    check: bool,
    #[arg(long, hide = true)]
    cgroup_parent: Option<String>,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    policy: Vec<String>,
    #[arg(long, hide = true)]
    push: bool,
    #[arg(long, hide = true)]
    resource: Vec<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(short, long, hide = true)]
    memory: Option<String>,
    #[arg(long, hide = true)]
    memory_swap: Option<String>,
    #[arg(short, long, hide = true)]
    cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    cpu_period: Option<String>,
    #[arg(long, hide = true)]
    cpu_quota: Option<String>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    cpuset_mems: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    provenance: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sbom: Option<String>,
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    print: bool,
}

impl Unsupported {
    /// Returns the name of a flag that was given although it cannot be honoured.
    pub(super) fn given(&self) -> Option<&'static str> {
        let off =
            |value: &Option<String>| value.as_deref().is_none_or(|v| matches!(v, "false" | "0"));
        let given = [
            ("--allow", !self.allow.is_empty()),
            ("--annotation", !self.annotation.is_empty()),
            ("--attest", self.attest.iter().any(|attest| !attest.contains("disabled=true"))),
            ("--cache-from", !self.cache_from.is_empty()),
            ("--cache-to", !self.cache_to.is_empty()),
            ("--call", self.call.as_deref().is_some_and(|call| call != "build")),
            ("--check", self.check),
            ("--cgroup-parent", self.cgroup_parent.is_some()),
            ("--isolation", self.isolation.as_deref().is_some_and(|kind| kind != "default")),
            ("--policy", !self.policy.is_empty()),
            ("--push", self.push),
            ("--resource", !self.resource.is_empty()),
            ("--security-opt", !self.security_opt.is_empty()),
            ("--memory", self.memory.is_some()),
            ("--memory-swap", self.memory_swap.is_some()),
            ("--cpu-shares", self.cpu_shares.is_some()),
            ("--cpu-period", self.cpu_period.is_some()),
            ("--cpu-quota", self.cpu_quota.is_some()),
            ("--cpuset-cpus", self.cpuset_cpus.is_some()),
            ("--cpuset-mems", self.cpuset_mems.is_some()),
            ("--provenance", !off(&self.provenance)),
            ("--sbom", !off(&self.sbom)),
            ("--print", self.print),
        ];
        given.iter().find(|(_, is_given)| *is_given).map(|(name, _)| *name)
    }
}
