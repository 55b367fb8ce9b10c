//! Our operations in the shape in which they are compared.

use kiln::dockerfile::ast::Sharing;
use kiln::dockerfile::chmod::Chmod;
use kiln::graph::{
    Access, CacheMount, Copy, CopySource, FileAction, FilesSource, Graph, ImageLocation, Lowered,
    Op, Run, RunMount, RunMountKind, RunNetwork, SecretMount, Vertex, VertexId,
};
use serde_json::{Value, json};

/// Returns the commands and file operations that a Dockerfile asks for, in order.
pub(crate) fn operations(lowered: &Lowered) -> Value {
    let graph = &lowered.graph;
    let mut shown = Vec::new();
    for (_, vertex) in graph.iter() {
        match &vertex.op {
            Op::Image(_) | Op::Files(_) | Op::Http(_) | Op::Git(_) => {}
            Op::Run(command) => shown.push(run(graph, vertex, command)),
            Op::File(file) => shown.push(json!({
                "base": source(graph, vertex.base),
                "link": file.link,
                "actions": file.actions.iter().map(|one| action(graph, one)).collect::<Vec<_>>(),
            })),
        }
    }
    json!(shown)
}

fn source(graph: &Graph, id: Option<VertexId>) -> Value {
    let Some(id) = id else { return Value::Null };
    let vertex = graph.get(id);
    match &vertex.op {
        Op::Image(image) => match &image.request.location {
            ImageLocation::Reference(reference) | ImageLocation::Short(reference) => {
                json!(reference.clone().or_latest().to_string())
            }
            ImageLocation::Manifest(digest) => json!(digest.to_string()),
            ImageLocation::Layout(path, _) => json!(path),
        },
        Op::Files(FilesSource::Main) => json!("context"),
        Op::Files(FilesSource::Named(path)) => json!(path),
        Op::Http(http) => json!(http.url),
        // The reference has fragment and query in fields of their own.
        Op::Git(git) => json!(git.remote.split(['#', '?']).next()),
        Op::Run(_) | Op::File(_) => {
            let before = graph.iter().take_while(|(other, _)| *other < id);
            let shown = before.filter(|(_, other)| matches!(other.op, Op::Run(_) | Op::File(_)));
            json!({"operation": shown.count()})
        }
    }
}

fn run(graph: &Graph, vertex: &Vertex, run: &Run) -> Value {
    let proxy = run.proxy_env.iter().step_by(2);
    let proxy = proxy.map(|pair| pair.split_once('=').map(|(_, value)| value));
    let secrets = run.secret_env.iter();
    let secrets =
        secrets.map(|one| json!({"name": one.name, "id": one.id, "required": one.required}));
    json!({
        "base": source(graph, vertex.base),
        "args": run.args,
        "env": run.env,
        "cwd": run.cwd,
        "user": run.user,
        "proxy": proxy.collect::<Vec<_>>(),
        "network": match run.network {
            RunNetwork::Default => "UNSET",
            RunNetwork::Host => "HOST",
            RunNetwork::None => "NONE",
        },
        "insecure": run.insecure,
        "mounts": run.mounts.iter().map(|mount| run_mount(graph, mount)).collect::<Vec<_>>(),
        "secret_env": secrets.collect::<Vec<_>>(),
    })
}

fn run_mount(graph: &Graph, mount: &RunMount) -> Value {
    let (readonly, kind) = match &mount.kind {
        RunMountKind::Bind { input, source: path, readonly } => {
            (*readonly, json!({"source": path, "from": source(graph, *input)}))
        }
        RunMountKind::Cache(mount) => (mount.readonly, cache(mount)),
        RunMountKind::Tmpfs { size, readonly } => (*readonly, json!({"tmpfs": size})),
        RunMountKind::Secret(mount) => (false, json!({"secret": secret(mount)})),
        RunMountKind::Ssh(mount) => (false, json!({"ssh": secret(mount)})),
        RunMountKind::Script { name, content } => {
            (true, json!({"script": format!("/{name}"), "content": content}))
        }
    };
    // The reference writes this one target with a slash at its end.
    let slash = if matches!(mount.kind, RunMountKind::Script { .. }) { "/" } else { "" };
    let mut shown = json!({"dest": format!("{}{slash}", mount.target), "readonly": readonly});
    shown.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    shown
}

fn cache(mount: &CacheMount) -> Value {
    let access = |access: Access| json!({"mode": access.mode, "owner": [access.uid, access.gid]});
    json!({
        "cache": mount.id,
        "sharing": match mount.sharing {
            Sharing::Shared => "SHARED",
            Sharing::Private => "PRIVATE",
            Sharing::Locked => "LOCKED",
        },
        // The reference makes a directory of this name to set the owner of.
        "source": if mount.access.is_some() { "/cache" } else { &mount.source },
        "access": mount.access.map(access),
    })
}

fn secret(mount: &SecretMount) -> Value {
    let Access { mode, uid, gid } = mount.access;
    json!({"id": mount.id, "mode": mode, "uid": uid, "gid": gid, "required": mount.required})
}

fn action(graph: &Graph, action: &FileAction) -> Value {
    match action {
        FileAction::MakeDirectory { path, user } => json!({"mkdir": path, "owner": owner(user)}),
        FileAction::Copy(one) => {
            let mut shown = copy(one);
            match &one.source {
                CopySource::Vertex { id, .. } => {
                    shown["from"] = source(graph, *id);
                    // The path of a whole repository is `/`, which is the same with and without wildcards.
                    let is_git = |id: VertexId| matches!(graph.get(id).op, Op::Git(_));
                    if id.is_some_and(is_git) {
                        shown["pattern"] = json!(false);
                    }
                }
                CopySource::Inline { content, .. } => shown["content"] = json!(content),
            }
            shown
        }
    }
}

/// Returns a copy without where it copies from.
fn copy(copy: &Copy) -> Value {
    let (path, is_pattern, parents) = match &copy.source {
        CopySource::Vertex { path, pattern, parents, .. } => {
            (path.clone(), *pattern, parents.as_ref())
        }
        CopySource::Inline { name, .. } => (format!("/{name}"), false, None),
    };
    json!({
        "src": path,
        "dest": copy.dest,
        "mode": match &copy.chmod {
            None => Value::Null,
            Some(Chmod::Octal(mode)) => json!(mode),
            Some(Chmod::Symbolic(_)) => json!("symbolic"),
        },
        "owner": owner(&copy.chown),
        "pattern": is_pattern,
        "unpack": copy.unpack,
        "include": parents.map(|parents| &parents.pattern).into_iter().collect::<Vec<_>>(),
        "required": parents.and_then(|parents| parents.required.as_ref()).into_iter().collect::<Vec<_>>(),
        "exclude": copy.exclude,
    })
}

fn owner(text: &str) -> Value {
    let one = |who: &str| match who.parse::<u32>() {
        Ok(number) => json!(number),
        Err(_) => json!(who),
    };
    match text.split_once(':') {
        _ if text.is_empty() => json!([null, null]),
        Some((user, group)) => json!([one(user), one(group)]),
        None => json!([one(text), null]),
    }
}
