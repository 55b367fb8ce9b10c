//! The reference's operations in the shape in which they are compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Returns the commands and file operations that a Dockerfile asks for, in order.
pub(crate) fn operations(llb: &Value) -> Value {
    let ops = list(llb);
    let mut shown = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        if op["exec"].is_object() {
            shown.push(run(ops, op));
        } else if is_shown(op) {
            let is_merge = |other: &&Value| {
                other["merge"].is_object() && list(&other["inputs"]).contains(&json!([index, 0]))
            };
            let merge = ops.iter().find(is_merge);
            let actions = list(&op["file"]["actions"]);
            let base = match merge {
                Some(merge) => input(ops, merge, &merge["merge"]["inputs"][0]["input"]),
                None => input(ops, op, &actions[0]["input"]),
            };
            shown.push(json!({
                "base": source(ops, base),
                "link": merge.is_some(),
                "actions": actions.iter().map(|one| action(ops, op, one)).collect::<Vec<_>>(),
            }));
        }
    }
    json!(shown)
}

/// Commands and file operations, without what only prepares their inputs.
fn is_shown(op: &Value) -> bool {
    let is_file = op["file"].is_object() && !text(&op["name"]).starts_with("[internal] ");
    op["exec"].is_object() || is_file
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn or(value: &Value, default: Value) -> Value {
    if value.is_null() { default } else { value.clone() }
}

/// Numbers are texts in some places, and zero is left out.
fn number(value: &Value) -> i64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_i64().unwrap_or(0),
    }
}

fn input<'a>(ops: &'a [Value], op: &Value, index: &Value) -> Option<&'a Value> {
    let index = usize::try_from(number(index)).ok()?;
    ops.get(number(&op["inputs"][index][0]) as usize)
}

/// What an operation is, as far as our graph has a name for it.
fn source(ops: &[Value], op: Option<&Value>) -> Value {
    let Some(op) = op else { return Value::Null };
    if op["merge"].is_object() {
        return source(ops, input(ops, op, &op["merge"]["inputs"][1]["input"]));
    }
    match text(&op["source"]["identifier"]).split_once("://") {
        Some(("docker-image", name)) => json!(name),
        Some(("local", _)) => json!("context"),
        Some(("git", _)) => op["source"]["attrs"]["git.fullurl"].clone(),
        Some((scheme, rest)) => json!(format!("{scheme}://{rest}")),
        None => {
            let before = ops.iter().take_while(|other| !std::ptr::eq(*other, op));
            json!({"operation": before.filter(|other| is_shown(other)).count()})
        }
    }
}

fn run(ops: &[Value], op: &Value) -> Value {
    let (exec, meta) = (&op["exec"], &op["exec"]["meta"]);
    let mounts = list(&exec["mounts"]);
    // The sandbox sets this variable, not the graph.
    let has_agent = mounts.iter().any(|mount| mount["mountType"] == "SSH");
    let env = list(&meta["env"])
        .iter()
        .filter(|pair| !(has_agent && text(pair).starts_with("SSH_AUTH_SOCK=")));
    let proxy: Vec<&Value> =
        meta["proxyEnv"].as_object().into_iter().flat_map(|map| map.values()).collect();
    let secrets = list(&exec["secretenv"]).iter().map(
        |one| json!({"name": or(&one["name"], json!("")), "id": one["ID"], "required": one["optional"] != true}),
    );
    json!({
        "base": source(ops, input(ops, op, &mounts[0]["input"])),
        "args": meta["args"],
        "env": env.collect::<Vec<_>>(),
        "cwd": meta["cwd"],
        "user": or(&meta["user"], json!("")),
        "proxy": proxy,
        "network": or(&exec["network"], json!("UNSET")),
        "insecure": exec["security"] == "INSECURE",
        "mounts": mounts[1..].iter().map(|mount| run_mount(ops, op, mount)).collect::<Vec<_>>(),
        "secret_env": secrets.collect::<Vec<_>>(),
    })
}

fn run_mount(ops: &[Value], op: &Value, mount: &Value) -> Value {
    let from = input(ops, op, &mount["input"]);
    let mut shown = json!({"dest": mount["dest"], "readonly": mount["readonly"] == true});
    let kind = match text(&mount["mountType"]) {
        "CACHE" => json!({
            "cache": mount["cacheOpt"]["ID"],
            "sharing": or(&mount["cacheOpt"]["sharing"], json!("SHARED")),
            "source": or(&mount["selector"], json!("/")),
            "access": from.map(|from| &from["file"]["actions"][0]["mkdir"]).filter(|dir| dir["path"] == "/cache").map(|dir| json!({
                "mode": dir["mode"], "owner": owner(&dir["owner"]),
            })),
        }),
        "TMPFS" => json!({"tmpfs": number(&mount["TmpfsOpt"]["size"])}),
        "SECRET" => json!({"secret": secret(&mount["secretOpt"])}),
        "SSH" => json!({"ssh": secret(&mount["SSHOpt"])}),
        _ => match from.map(|from| &from["file"]["actions"][0]["mkfile"]) {
            Some(file) if file.is_object() => {
                json!({"script": file["path"], "content": decode(&file["data"])})
            }
            _ => json!({"source": or(&mount["selector"], json!("/")), "from": source(ops, from)}),
        },
    };
    shown.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    shown
}

fn secret(options: &Value) -> Value {
    json!({
        "id": or(&options["ID"], json!("default")),
        "mode": number(&options["mode"]),
        "uid": number(&options["uid"]),
        "gid": number(&options["gid"]),
        "required": options["optional"] != true,
    })
}

fn decode(data: &Value) -> String {
    String::from_utf8(STANDARD.decode(text(data)).unwrap()).unwrap()
}

fn action(ops: &[Value], op: &Value, action: &Value) -> Value {
    let dir = &action["mkdir"];
    if dir.is_object() {
        return json!({"mkdir": dir["path"], "owner": owner(&dir["owner"])});
    }
    let mut shown = copy(&action["copy"]);
    let from = input(ops, op, &action["secondaryInput"]);
    let made = from.map_or(&Value::Null, |from| &from["file"]["actions"][0]["mkfile"]);
    if made.is_object() {
        shown["content"] = json!(decode(&made["data"]));
    } else {
        shown["from"] = source(ops, from);
    }
    shown
}

/// Returns a copy without where it copies from.
pub(crate) fn copy(copy: &Value) -> Value {
    let mode = match (&copy["modeStr"], number(&copy["mode"])) {
        (Value::String(_), _) => json!("symbolic"),
        (_, -1) => Value::Null,
        (_, mode) => json!(mode),
    };
    json!({
        "src": copy["src"],
        "dest": copy["dest"],
        "mode": mode,
        "owner": owner(&copy["owner"]),
        "pattern": copy["allowWildcard"] == true,
        "unpack": copy["attemptUnpackDockerCompatibility"] == true,
        "include": list(&copy["includePatterns"]),
        "required": list(&copy["requiredPaths"]),
        "exclude": list(&copy["excludePatterns"]),
    })
}

fn owner(owner: &Value) -> Value {
    let one = |who: &Value| match who {
        Value::Null => Value::Null,
        who if who["byName"].is_object() => who["byName"]["name"].clone(),
        who => json!(number(&who["byID"])),
    };
    json!([one(&owner["user"]), one(&owner["group"])])
}
