//! Cache keys and what goes into them.
//!
//! A key is the BLAKE3 hash of a sequence of parts. Each part is its name and its value, both as fields with an
//! eight-byte little-endian length before them; lists are a part holding the fields of their members. The first
//! part is the domain tag, which changes whenever this encoding or the meaning of a step does. Nothing of the host
//! goes in: no times but SOURCE_DATE_EPOCH, no host paths, no ids of the invoking user.
//!
//! | step | parts, in order |
//! |---|---|
//! | image | `manifest`, `platform` |
//! | run | `base`, `args`, `env`, `cwd`, `user`, `network`, `security`, `hostname`, `hosts`, `ulimits`, `shm`, `platform`, `secrets`, `mount <n>` each |
//! | file | `base` (absent for `--link`), `epoch` (if there is one), `action <n>` each |
//! | linked | `base`, `link`: the key of a `--link`, as those know it that build on it |
//!
//! `base` and the inputs of mounts and actions are [`InputKey`]s: in a definition key the input's own definition
//! key, in a content key its identity; files of a context are always their identity. Whether a secret or agent was
//! given is part of the key, its value is not; nor are the contents of cache mounts, proxies, and the addresses of
//! extra hosts.

use crate::digest::{CacheKey, ContentDigest, ContentHasher, Digest};
use crate::graph::{
    Access, CacheMount, Copy, CopySource, FileAction, FileOp, Run, RunMount, RunMountKind,
    RunNetwork,
};
use crate::oci::Platform;
use crate::sandbox::spec::Rlimit;

const DOMAIN: &str = "kiln step 2";

/// What an input contributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKey {
    /// Nothing: an empty file system.
    Empty,
    /// How it was made.
    Definition(CacheKey),
    /// What it is.
    Content(ContentDigest),
}

impl InputKey {
    fn encode(self) -> Vec<u8> {
        match self {
            Self::Empty => b"e".to_vec(),
            Self::Definition(key) => [b"d", &key.as_bytes()[..]].concat(),
            Self::Content(digest) => [b"c", &digest.as_bytes()[..]].concat(),
        }
    }
}

/// A key with its parts, so that a miss can say which part differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub key: CacheKey,
    /// Name and digest of each part.
    pub parts: Vec<(String, ContentDigest)>,
}

#[derive(Default)]
struct Builder {
    hasher: ContentHasher,
    parts: Vec<(String, ContentDigest)>,
}

impl Builder {
    fn new(kind: &str) -> Self {
        let mut builder = Self::default();
        builder.hasher.field(DOMAIN.as_bytes());
        builder.hasher.field(kind.as_bytes());
        builder
    }

    fn part(&mut self, name: &str, value: &[u8]) {
        self.hasher.field(name.as_bytes());
        self.hasher.field(value);
        self.parts.push((name.to_owned(), ContentDigest::of(value)));
    }

    fn list<T: AsRef<[u8]>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        self.part(name, &fields(values));
    }

    /// A part that is told apart by variable, so that a miss can name the one that changed.
    fn environment(&mut self, variables: &[String]) {
        self.hasher.field(b"env");
        self.hasher.field(&fields(variables));
        for variable in variables {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            self.parts.push((format!("env {name}"), ContentDigest::of(value.as_bytes())));
        }
    }

    fn finish(self) -> Key {
        Key { key: self.hasher.key(), parts: self.parts }
    }
}

fn fields<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        let value = value.as_ref();
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Returns the key of an image's layers.
pub fn image_key(manifest: &Digest, platform: &Platform) -> Key {
    let mut builder = Builder::new("image");
    builder.part("manifest", manifest.as_bytes());
    builder.part("platform", platform.format_all().as_bytes());
    builder.finish()
}

/// What a run depends on besides its own fields.
pub struct RunInputs<'a> {
    /// Its file system.
    pub base: InputKey,
    /// The input of each mount, in order; `Empty` where it has none.
    pub mounts: &'a [InputKey],
    /// Names of `--add-host`.
    pub hosts: &'a [String],
    /// `--ulimit`
    pub ulimits: &'a [Rlimit],
    /// `--shm-size`
    pub shm_size: u64,
    /// Ids of the secrets and agents that were given.
    pub given: &'a [&'a str],
}

/// Returns the key of a command.
pub fn run_key(run: &Run, inputs: &RunInputs<'_>) -> Key {
    let mut builder = Builder::new("run");
    builder.part("base", &inputs.base.encode());
    builder.list("args", &run.args);
    builder.environment(&run.env);
    builder.part("cwd", run.cwd.as_bytes());
    builder.part("user", run.user.as_bytes());
    builder.part(
        "network",
        match run.network {
            RunNetwork::Default => b"default",
            RunNetwork::Host => b"host",
            RunNetwork::None => b"none",
        },
    );
    builder.part("security", if run.insecure { b"insecure" } else { b"sandbox" });
    builder.part("hostname", run.hostname.as_bytes());
    builder.list("hosts", inputs.hosts);
    let ulimits = inputs.ulimits.iter().map(|u| format!("{}={}:{}", u.name, u.soft, u.hard));
    builder.list("ulimits", ulimits);
    builder.part("shm", &inputs.shm_size.to_le_bytes());
    builder.part("platform", run.platform.format_all().as_bytes());
    let given = |id: &str| if inputs.given.contains(&id) { "given" } else { "absent" };
    let required = |is_required| if is_required { "required" } else { "optional" };
    let secrets = run
        .secret_env
        .iter()
        .map(|s| fields([s.name.as_str(), &s.id, given(&s.id), required(s.required)]));
    builder.list("secrets", secrets);
    for (index, mount) in run.mounts.iter().enumerate() {
        let input = inputs.mounts.get(index).copied().unwrap_or(InputKey::Empty);
        builder.part(&format!("mount {index}"), &encode_mount(mount, input, &given));
    }
    builder.finish()
}

fn encode_mount(
    mount: &RunMount,
    input: InputKey,
    given: &dyn Fn(&str) -> &'static str,
) -> Vec<u8> {
    let target = mount.target.as_bytes().to_vec();
    let input = input.encode();
    match &mount.kind {
        RunMountKind::Bind { source, readonly, .. } => {
            fields([&b"bind"[..], &target, &input, source.as_bytes(), &[u8::from(*readonly)]])
        }
        RunMountKind::Cache(cache) => {
            let CacheMount { id, source, sharing: _, readonly, access, input: _ } = cache;
            let access = encode_access(access.as_ref());
            fields([
                &b"cache"[..],
                &target,
                &input,
                id.as_bytes(),
                source.as_bytes(),
                &[u8::from(*readonly)],
                &access,
            ])
        }
        RunMountKind::Tmpfs { size, readonly } => {
            fields([&b"tmpfs"[..], &target, &size.to_le_bytes(), &[u8::from(*readonly)]])
        }
        RunMountKind::Secret(secret) => {
            let access = encode_access(Some(&secret.access));
            let given = given(&secret.id).as_bytes();
            let required = [u8::from(secret.required)];
            fields([&b"secret"[..], &target, secret.id.as_bytes(), &access, given, &required])
        }
        RunMountKind::Ssh(ssh) => {
            let access = encode_access(Some(&ssh.access));
            let given = given(&ssh.id).as_bytes();
            let required = [u8::from(ssh.required)];
            fields([&b"ssh"[..], &target, ssh.id.as_bytes(), &access, given, &required])
        }
        RunMountKind::Script { name, content } => {
            fields([&b"script"[..], &target, name.as_bytes(), content.as_bytes()])
        }
    }
}

fn encode_access(access: Option<&Access>) -> Vec<u8> {
    access.map_or_else(Vec::new, |access| {
        format!("{:o} {} {}", access.mode, access.uid, access.gid).into_bytes()
    })
}

/// Returns the key of file operations. `sources` holds, for each action, what it copies: the identity of the
/// selected files, or the definition key of the vertex that they come from. `epoch` is the time of what is made.
pub fn file_key(op: &FileOp, base: InputKey, sources: &[InputKey], epoch: Option<i64>) -> Key {
    let mut builder = Builder::new("file");
    if !op.link {
        builder.part("base", &base.encode());
    }
    if let Some(epoch) = epoch {
        builder.part("epoch", &epoch.to_le_bytes());
    }
    for (index, action) in op.actions.iter().enumerate() {
        let source = sources.get(index).copied().unwrap_or(InputKey::Empty);
        builder.part(&format!("action {index}"), &encode_action(action, source));
    }
    builder.finish()
}

/// Returns by what others know file operations with `--link`, whose own key has no base: what they come to has one.
pub fn linked_key(key: &Key, base: InputKey) -> InputKey {
    let mut builder = Builder::new("linked");
    builder.part("base", &base.encode());
    builder.part("link", key.key.as_bytes());
    InputKey::Definition(builder.finish().key)
}

fn encode_action(action: &FileAction, source: InputKey) -> Vec<u8> {
    match action {
        FileAction::MakeDirectory { path, user } => {
            fields([&b"mkdir"[..], path.as_bytes(), user.as_bytes()])
        }
        FileAction::Copy(copy) => encode_copy(copy, source),
    }
}

fn encode_copy(copy: &Copy, input: InputKey) -> Vec<u8> {
    let Copy { source, dest, chown, chmod, unpack, exclude } = copy;
    let chmod = chmod.as_ref().map_or_else(String::new, |chmod| format!("{chmod:?}"));
    let common = fields([
        dest.as_bytes(),
        chown.as_bytes(),
        chmod.as_bytes(),
        &[u8::from(*unpack)],
        &fields(exclude),
    ]);
    match source {
        CopySource::Inline { name, content } => {
            fields([&b"inline"[..], &common, name.as_bytes(), content.as_bytes()])
        }
        CopySource::Vertex { id: _, path, pattern, parents } => {
            let parents = parents.as_ref().map_or_else(Vec::new, |parents| {
                fields([Some(&parents.pattern), parents.required.as_ref()].into_iter().flatten())
            });
            fields([
                &b"copy"[..],
                &common,
                &input.encode(),
                path.as_bytes(),
                &[u8::from(*pattern)],
                &parents,
            ])
        }
    }
}
