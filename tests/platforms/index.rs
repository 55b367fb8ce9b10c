//! What several platforms share, and what each output makes of their images.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{BASE, Kiln, tars, tool};

/// Uses every variable of the target, and nothing of the machine that builds.
const OF_TARGET: &str = "FROM scratch\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\n\
    ENV FOR=$TARGETPLATFORM VARIANT=$TARGETVARIANT\nWORKDIR /$TARGETOS-$TARGETARCH$TARGETVARIANT\n";

/// Four platforms, two of them named twice.
const FOUR: [&str; 4] = [
    "--platform",
    "linux/arm64/v8,linux/amd64,linux/arm/v7,linux/amd64/v3",
    "--platform",
    "aarch64,linux/amd64",
];

const EPOCH: [&str; 2] = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];

fn succeed(kiln: &Kiln, text: &str, args: &[&str]) -> crate::support::Ended {
    let ended = kiln.build(text, args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// Reads the documents of an OCI archive: the index that it names, and of each image its platform and config.
fn documents(path: &Path) -> (Value, Vec<(Value, Value)>) {
    let layout = tars::Layout::read(path);
    let blob = |descriptor: &Value| -> Value {
        let digest = descriptor["digest"].as_str().unwrap();
        serde_json::from_slice(layout.file(&digest.replace("sha256:", "blobs/sha256/"))).unwrap()
    };
    let top: Value = serde_json::from_slice(layout.file("index.json")).unwrap();
    let index = blob(&top["manifests"][0]);
    let images = index["manifests"].as_array().unwrap().iter();
    let images = images.map(|image| (image["platform"].clone(), blob(&blob(image)["config"])));
    (top["manifests"][0].clone(), images.collect())
}

#[test]
fn an_index_is_the_one_that_buildkit_makes() {
    let kiln = Kiln::new();
    // What `buildctl build --opt platform=… --output type=oci,compression=uncompressed` printed.
    for (family, digest, media_type, size) in [
        (
            "true",
            "sha256:948b5a7f89074f1012860737a8df47dee3f24388a4ede7e01d366671c17ed7b2",
            "application/vnd.oci.image.index.v1+json",
            1235,
        ),
        (
            "false",
            "sha256:3fa995459d0fa8945719c4b4fbbe7b3d284e07cec56d6067ed7e24c63642e602",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            1293,
        ),
    ] {
        let [out, id, metadata] = ["out.tar", "id", "metadata"].map(|name| kiln.path(name));
        let output = format!(
            "type=oci,compression=uncompressed,oci-mediatypes={family},name=x.org/y:1,dest={}",
            out.display()
        );
        let files =
            ["--iidfile", id.to_str().unwrap(), "--metadata-file", metadata.to_str().unwrap()];
        let args = [&FOUR[..], &EPOCH, &["--output", &output], &files].concat();
        let ended = succeed(&kiln, OF_TARGET, &args);
        assert_eq!(ended.stdout, format!("{digest}\n"));
        assert_eq!(std::fs::read_to_string(id).unwrap(), digest);
        let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
        let expected = serde_json::json!({
            "containerimage.descriptor": { "mediaType": media_type, "digest": digest, "size": size },
            "containerimage.digest": digest,
            "image.name": "x.org/y:1",
        });
        assert_eq!(metadata, expected);
        let (named, images) = documents(&out);
        let expected = serde_json::json!({
            "mediaType": media_type,
            "digest": digest,
            "size": size,
            "annotations": {
                "io.containerd.image.name": "x.org/y:1",
                "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
                "org.opencontainers.image.ref.name": "1",
            },
        });
        assert_eq!(named, expected);
        let platforms: Vec<_> = images.iter().map(|(platform, _)| platform.to_string()).collect();
        assert_eq!(
            platforms,
            [
                r#"{"architecture":"arm64","os":"linux"}"#,
                r#"{"architecture":"amd64","os":"linux"}"#,
                r#"{"architecture":"arm","os":"linux","variant":"v7"}"#,
                r#"{"architecture":"amd64","os":"linux","variant":"v3"}"#,
            ]
        );
    }
}

#[test]
fn each_image_has_the_variables_of_its_platform() {
    let kiln = Kiln::new();
    let out = kiln.path("out.tar");
    let output = format!("type=oci,dest={}", out.display());
    let args = ["--platform", "linux/arm/v6,linux/s390x", "--output", &output];
    let text = "FROM --platform=$BUILDPLATFORM scratch AS build\nFROM scratch\n\
        ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM\n\
        LABEL a=$TARGETPLATFORM b=$TARGETOS/$TARGETARCH/$TARGETVARIANT c=${TARGETVARIANT:-none} d=$BUILDPLATFORM\n";
    succeed(&kiln, text, &args);
    let host = kiln::oci::Platform::host().to_string();
    for ((platform, config), [whole, parts, variant]) in documents(&out)
        .1
        .iter()
        .zip([["linux/arm/v6", "linux/arm/v6", "v6"], ["linux/s390x", "linux/s390x/", "none"]])
    {
        let labels = serde_json::json!({ "a": whole, "b": parts, "c": variant, "d": host });
        assert_eq!(config["config"]["Labels"], labels);
        assert_eq!(config["architecture"], platform["architecture"]);
        assert_eq!(config["variant"], platform["variant"]);
    }
}

#[test]
fn what_platforms_share_is_done_once_and_the_rest_by_itself() {
    let kiln = Kiln::new();
    succeed(&kiln, BASE, &["-t", "tools"]);
    let text = "FROM --platform=$BUILDPLATFORM tools AS build\nRUN echo once >> /out\n\
        ARG TARGETARCH\nRUN echo for $TARGETARCH >> /out\nFROM scratch\nCOPY --from=build /out /\n";
    let out = kiln.path("out");
    let output = format!("type=local,dest={}", out.display());
    let args =
        ["--platform", "linux/arm64,linux/s390x,linux/arm/v7", "--output", &output, "--jobs", "3"];
    let ended = succeed(&kiln, text, &args);
    for (directory, content) in [
        ("linux_arm64", "once\nfor arm64\n"),
        ("linux_s390x", "once\nfor s390x\n"),
        ("linux_arm_v7", "once\nfor arm\n"),
    ] {
        assert_eq!(std::fs::read_to_string(out.join(directory).join("out")).unwrap(), content);
    }
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for name in ended.stderr.lines().filter_map(|line| line.split_once(" [")).map(|(_, name)| name)
    {
        *names.entry(name).or_default() += 1;
    }
    let count = |part: &str| names.keys().filter(|name| name.contains(part)).count();
    assert_eq!((count("RUN echo once"), count("tools")), (1, 2), "{names:?}");
    assert_eq!((count("RUN echo for"), count("COPY --from=build")), (3, 3), "{names:?}");
    assert!(names.values().all(|shown| *shown == 1), "{names:?}");
    let host = kiln::oci::Platform::host();
    for name in [
        "linux/arm/v7 stage-1 1/1] COPY --from=build /out /".to_owned(),
        format!("{host} build 2/3] RUN echo once >> /out"),
        format!("{host}->s390x build 3/3] RUN echo for s390x >> /out"),
        format!("{host} internal] load metadata for tools:latest"),
    ] {
        assert!(names.contains_key(name.as_str()), "{name}: {names:?}");
    }
    // Below what is found nothing is looked at.
    assert_eq!(succeed(&kiln, text, &args).cached(), 3);
}

#[test]
fn files_of_several_platforms_are_apart_or_together() {
    let kiln = Kiln::new();
    let text = "FROM scratch\nARG TARGETARCH\nCOPY <<EOF /etc/$TARGETARCH\n$TARGETARCH\nEOF\n";
    let platforms = ["--platform", "linux/amd64,linux/arm/v7"];
    let lines = |args: &[&str]| -> Vec<String> {
        kiln.tree(text, &[&EPOCH[..], args].concat()).iter().map(tars::Entry::line).collect()
    };
    let apart = [
        "d 755 0:0 linux_amd64/",
        "d 755 0:0 linux_amd64/etc/",
        "- 644 0:0 linux_amd64/etc/amd64",
        "d 755 0:0 linux_arm_v7/",
        "d 755 0:0 linux_arm_v7/etc/",
        "- 644 0:0 linux_arm_v7/etc/arm",
    ];
    assert_eq!(lines(&platforms), apart);
    // One platform is not put apart, unless an index is asked for.
    assert_eq!(
        lines(&platforms[..1].iter().chain(&["linux/amd64"]).copied().collect::<Vec<_>>())[0],
        "d 755 0:0 etc/"
    );
    let one = lines(&["--platform", "linux/amd64", "--build-arg", "BUILDKIT_MULTI_PLATFORM=1"]);
    assert_eq!(one, apart[..3]);
    let local = |dest: &str, attributes: &str, text: &str, args: &[&str]| {
        let output = format!("type=local,dest={}{attributes}", kiln.path(dest).display());
        kiln.build(text, &[args, &["--output", &output]].concat())
    };
    assert_eq!(local("together", ",platform-split=false", text, &platforms).code, Some(0));
    let etc = kiln.path("together/etc");
    assert_eq!(std::fs::read_to_string(etc.join("amd64")).unwrap(), "amd64\n");
    assert_eq!(std::fs::read_to_string(etc.join("arm")).unwrap(), "arm\n");
    assert_eq!(
        local("split", ",platform-split=true", text, &["--platform", "linux/arm64"]).code,
        Some(0)
    );
    assert!(kiln.path("split/linux_arm64/etc/arm64").exists());
    // The same file of two platforms, be it equal.
    let common = "FROM scratch\nCOPY busybox /bin/\n";
    let refused = local("common", ",platform-split=false", common, &platforms);
    assert_eq!(
        (refused.code, refused.error().as_str()),
        (
            Some(2),
            "error: cannot write the image: `/bin/busybox` is there for linux/amd64 and for linux/arm/v7, and \
             `platform-split=false` asks for one directory\n"
        )
    );
    assert!(!kiln.path("common").exists());
}

#[test]
fn the_local_store_has_the_image_of_each_platform() {
    let kiln = Kiln::new();
    let host = kiln::oci::Platform::host().to_string();
    let text = format!(
        "FROM --platform={host} scratch AS tools\nCOPY busybox /bin/sh\nFROM tools\nARG TARGETPLATFORM\nENV FOR=$TARGETPLATFORM\n\
         CMD [\"/bin/sh\", \"-c\", \"echo $FOR\"]\n"
    );
    let platforms = format!("linux/s390x,{host}");
    let ended = succeed(&kiln, &text, &["--platform", &platforms, "-t", "pair"]);
    for name in ["pair", ended.stdout.trim()] {
        let ran = kiln.run(&["run", name]);
        assert_eq!((ran.stdout, ran.code), (format!("{host}\n"), Some(0)), "{}", ran.stderr);
    }
    let out = kiln.path("out.tar");
    let output = format!("type=oci,dest={}", out.display());
    let on_top = "FROM pair\nLABEL on=$FOR\n";
    succeed(&kiln, on_top, &["--platform", &platforms, "--output", &output]);
    let labels =
        documents(&out).1.into_iter().map(|(_, config)| config["config"]["Labels"]["on"].clone());
    assert_eq!(labels.collect::<Vec<_>>(), ["linux/s390x", &host]);
    let archive = format!("oci-archive:{}", out.display());
    let architecture = |wanted: &str| {
        let args =
            ["--override-arch", wanted, "inspect", "--format", "{{.Architecture}}", &archive];
        tool("skopeo", "skopeo", &args)
    };
    assert_eq!(architecture("s390x"), "s390x\n");
}

#[test]
fn a_base_that_lacks_a_platform_says_what_it_has() {
    let kiln = Kiln::new();
    let layout = kiln.path("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let args = ["--platform", "linux/arm64,linux/arm/v7", "--output", &output];
    succeed(&kiln, "FROM scratch\nCOPY busybox /\n", &args);
    let context = format!("base=oci-layout://{}", layout.display());
    let args = ["--platform", "linux/arm/v8,linux/ppc64le", "--build-context", &context];
    let ended = kiln.build("FROM base\n", &args);
    assert_eq!(
        (ended.code, ended.error()),
        (
            Some(2),
            format!(
                "error: cannot find the base image `oci-layout://{}` for linux/ppc64le\n --> Dockerfile:1:1\n  |\n\
                 1 | FROM base\n  | ^^^^^^^^^\n  caused by: no image for platform `linux/ppc64le`\n  \
                 hint: the image is made for linux/arm64, linux/arm/v7; try --platform\n",
                layout.display()
            )
        )
    );
}

#[test]
fn platforms_that_cannot_be() {
    let kiln = Kiln::new();
    let cases: [(&[&str], &str); 3] = [
        (&["--platform", "linux/amd64,linux/*"], "error: invalid platform `linux/*`\n"),
        (
            &["--platform", "linux/amd64,linux/arm64", "--build-arg", "BUILDKIT_MULTI_PLATFORM=0"],
            "error: `BUILDKIT_MULTI_PLATFORM=false` does not go with several platforms\n",
        ),
        (
            &["--build-arg", "BUILDKIT_MULTI_PLATFORM=perhaps"],
            "error: invalid value `perhaps` for `BUILDKIT_MULTI_PLATFORM`: expected true or false\n",
        ),
    ];
    for (args, message) in cases {
        let ended = kiln.build("FROM scratch\n", args);
        assert_eq!(ended.code, Some(2));
        assert!(ended.error().starts_with(message), "{}", ended.stderr);
    }
}
