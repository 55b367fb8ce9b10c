//! The syntax tree in the shape of the golden answers.

use kiln::dockerfile::ast::{
    Add, Command, CommandLine, Copy, Healthcheck, InlineFile, Instruction, KeyValue, Mount,
    MountKind, Run, RunNetwork, RunSecurity, Sharing, Stage,
};
use kiln::dockerfile::{device, mount};
use serde_json::{Value, json};

/// Takes the text of `mounts_error` out of a golden answer: its wording is not compared.
pub(crate) fn wordless(golden: &Value) -> Value {
    match golden {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let text = key == "mounts_error" && value.is_string();
                (key.clone(), if text { json!(true) } else { wordless(value) })
            })
            .collect(),
        Value::Array(members) => members.iter().map(wordless).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => golden.clone(),
    }
}

pub(crate) fn stage(stage: &Stage) -> Value {
    json!({
        "name": stage.name, "base": stage.base, "platform": stage.platform,
        "orig_cmd": stage.keyword, "code": stage.code, "comments": stage.comments,
        "doc": stage.doc, "flags": stage.flags,
        "line_start": stage.span.first_line, "line_end": stage.span.last_line,
        "commands": stage.commands.iter().map(command).collect::<Vec<_>>(),
    })
}

pub(crate) fn command(command: &Command) -> Value {
    let (kind, fields) = instruction(&command.instruction);
    let mut value = json!({
        "kind": kind, "name": command.keyword, "code": command.code, "flags": command.flags,
        "comments": command.comments,
        "line_start": command.span.first_line, "line_end": command.span.last_line,
        "heredocs": command.heredocs.iter().map(|heredoc| json!({
            "name": heredoc.name, "expand": heredoc.expand, "chomp": heredoc.chomp,
            "fd": heredoc.fd, "content": heredoc.content,
        })).collect::<Vec<_>>(),
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut value, fields) {
        all.extend(own);
    }
    value
}

fn instruction(instruction: &Instruction) -> (&'static str, Value) {
    match instruction {
        Instruction::Add(add) => ("ADD", self::add(add)),
        Instruction::Arg(args) => {
            let args: Vec<_> = args
                .iter()
                .map(|arg| json!({"key": arg.key, "value": arg.value, "doc": arg.doc}))
                .collect();
            ("ARG", json!({"args": args}))
        }
        Instruction::Cmd(line) => ("CMD", command_line(line)),
        Instruction::Copy(copy) => ("COPY", self::copy(copy)),
        Instruction::Entrypoint(line) => ("ENTRYPOINT", command_line(line)),
        Instruction::Env(pairs) => ("ENV", json!({"pairs": key_values(pairs)})),
        Instruction::Expose(ports) => ("EXPOSE", json!({"ports": ports})),
        Instruction::Healthcheck(check) => ("HEALTHCHECK", healthcheck(check)),
        Instruction::Label(pairs) => ("LABEL", json!({"pairs": key_values(pairs)})),
        Instruction::Maintainer(value) => ("MAINTAINER", json!({"value": value})),
        Instruction::Onbuild(value) => ("ONBUILD", json!({"value": value})),
        Instruction::Run(run) => ("RUN", self::run(run)),
        Instruction::Shell(args) => ("SHELL", json!({"args": args})),
        Instruction::Stopsignal(value) => ("STOPSIGNAL", json!({"value": value})),
        Instruction::User(value) => ("USER", json!({"value": value})),
        Instruction::Volume(volumes) => ("VOLUME", json!({"volumes": volumes})),
        Instruction::Workdir(value) => ("WORKDIR", json!({"value": value})),
    }
}

fn command_line(line: &CommandLine) -> Value {
    json!({"shell_form": line.shell_form, "args": line.args})
}

fn key_values(pairs: &[KeyValue]) -> Vec<Value> {
    pairs
        .iter()
        .map(|pair| json!({"key": pair.key, "value": pair.value, "no_delim": pair.legacy}))
        .collect()
}

fn inline(files: &[InlineFile]) -> Vec<Value> {
    files
        .iter()
        .map(|file| json!({"path": file.path, "data": file.data, "expand": file.expand}))
        .collect()
}

fn copy(copy: &Copy) -> Value {
    json!({
        "sources": copy.sources, "dest": copy.dest, "source_contents": inline(&copy.inline),
        "from": copy.from, "chown": copy.chown, "chmod": copy.chmod, "link": copy.link,
        "parents": copy.parents, "exclude": copy.exclude,
    })
}

fn add(add: &Add) -> Value {
    json!({
        "sources": add.sources, "dest": add.dest, "source_contents": inline(&add.inline),
        "chown": add.chown, "chmod": add.chmod, "link": add.link, "exclude": add.exclude,
        "checksum": add.checksum, "keep_git_dir": add.keep_git_dir, "unpack": add.unpack,
    })
}

fn healthcheck(check: &Healthcheck) -> Value {
    json!({
        "test": check.test, "retries": check.retries,
        "interval_ns": check.interval.as_nanos() as u64,
        "timeout_ns": check.timeout.as_nanos() as u64,
        "start_period_ns": check.start_period.as_nanos() as u64,
        "start_interval_ns": check.start_interval.as_nanos() as u64,
    })
}

fn run(run: &Run) -> Value {
    let network = match run.network {
        RunNetwork::Default => "default",
        RunNetwork::None => "none",
        RunNetwork::Host => "host",
    };
    let security = match run.security {
        RunSecurity::Sandbox => "sandbox",
        RunSecurity::Insecure => "insecure",
    };
    let devices: Vec<_> = run
        .devices
        .iter()
        .map(|text| device::device(text).unwrap())
        .map(|device| json!({"name": device.name, "required": device.required}))
        .collect();
    let mut value = json!({
        "shell_form": run.command.shell_form, "args": run.command.args,
        "flags_used": run.flags_used, "network": network, "security": security,
        "devices": devices,
    });
    let mounts: Result<Vec<_>, _> =
        run.mounts.iter().map(|text| mount::parse(text, &mut |word| Ok(word.to_owned()))).collect();
    match mounts {
        Ok(mounts) => value["mounts"] = mounts.iter().map(self::mount).collect(),
        Err(_) => value["mounts_error"] = json!(true),
    }
    value
}

fn mount(mount: &Mount) -> Value {
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Cache => "cache",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Secret => "secret",
        MountKind::Ssh => "ssh",
    };
    let sharing = match mount.sharing {
        None => "",
        Some(Sharing::Shared) => "shared",
        Some(Sharing::Private) => "private",
        Some(Sharing::Locked) => "locked",
    };
    json!({
        "type": kind, "from": mount.from, "source": mount.source, "target": mount.target,
        "readonly": mount.readonly, "size": mount.size, "id": mount.id, "sharing": sharing,
        "required": mount.required, "env": mount.env, "mode": mount.mode, "uid": mount.uid,
        "gid": mount.gid,
    })
}
