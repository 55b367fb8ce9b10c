//! The stub images of the corpus, and the options of its probes.

use std::collections::BTreeMap;

use kiln::digest::Digest;
use kiln::dockerfile::Dockerfile;
use kiln::graph::{
    self, Base, Bases, Entitlements, Fact, Failure, GraphError, ImageRequest, Lowered, Request,
};
use kiln::oci::{ImageConfig, Platform};
use serde_json::{Value, json};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the request of a probe with these options.
pub(crate) fn request(options: &Value) -> Request {
    let text = |key: &str| options[key].as_str().map(str::to_owned);
    let build_args: Option<BTreeMap<String, String>> =
        serde_json::from_value(options["build_args"].clone()).unwrap();
    Request {
        target: text("target"),
        build_args: build_args.unwrap_or_default(),
        platform: text("platform").map(|platform| Platform::parse(&platform).unwrap()),
        entitlements: Entitlements { host_network: true, insecure: true },
        ..Request::new(Platform::parse("linux/amd64").unwrap())
    }
}

/// Lowers with the stub images; `facts` becomes what was seen.
pub(crate) fn lower(
    file: &Dockerfile,
    request: &Request,
    facts: &mut Vec<Fact>,
) -> Result<Lowered, Box<GraphError>> {
    let mut bases = Bases::new();
    loop {
        match graph::lower(file, request, &bases, facts) {
            Ok(lowered) => return Ok(lowered),
            Err(Failure::Error(error)) => return Err(error),
            Err(Failure::Need(needed)) => {
                for (image, span) in needed {
                    let base = resolve(&image)
                        .ok_or_else(|| GraphError { span, ..GraphError::new("not found") })?;
                    assert!(bases.insert(image, base).is_none(), "an image was needed twice");
                }
            }
        }
    }
}

fn resolve(image: &ImageRequest) -> Option<Base> {
    let config = match image.location.reference()?.familiar_name().as_str() {
        "kiln/missing" => return None,
        "kiln/noenv" => json!({}),
        "kiln/onbuild" => json!({
            "Env": [PATH],
            "OnBuild": ["ENV FROM_ONBUILD=yes", "COPY . /onbuild", "RUN echo onbuild"],
        }),
        "kiln/onbuild-bad" => json!({"Env": [PATH], "OnBuild": ["FROM scratch"]}),
        "kiln/full" => full(),
        _ => json!({"Env": [PATH]}),
    };
    let whole = json!({
        "architecture": image.platform.architecture,
        "os": image.platform.os,
        "variant": image.platform.variant,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"layer").to_string()]},
        "history": [{"created_by": "base"}],
    });
    let config = ImageConfig::parse(whole.to_string().as_bytes()).unwrap();
    Some(Base { config, manifest: Digest::of(b"manifest") })
}

fn full() -> Value {
    json!({
        "Env": [PATH, "FOO=basefoo", "EMPTY="],
        "User": "app:grp",
        "WorkingDir": "/srv/base",
        "Entrypoint": ["/ep", "x"],
        "Cmd": ["c1", "c2"],
        "Labels": {"base": "1"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/basevol": {}},
        "StopSignal": "SIGQUIT",
        "Shell": ["/bin/bash", "-lc"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000_i64},
    })
}
