//! Configs as BuildKit and Docker write them.

use super::*;

const BASE: &str = concat!(
    r#"{"architecture":"arm64","config":{"User":"app","ExposedPorts":{"443/tcp":{},"80/tcp":{}},"#,
    r#""Env":["PATH=/bin","A=1"],"Entrypoint":["/e"],"Cmd":["a","b"],"Volumes":{"/data":{}},"#,
    r#""WorkingDir":"/w","Labels":{"a":"1","b":"\u003c2\u003e"},"StopSignal":"SIGINT","#,
    r#""ArgsEscaped":true,"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":5000000000,"Retries":3},"#,
    r#""OnBuild":["RUN x"],"Shell":["/bin/sh","-c"],"Hostname":"h"},"#,
    r#""created":"2024-05-01T12:00:00.1234Z","docker_version":"27","#,
    r#""history":[{"created":"2024-05-01T12:00:00Z","created_by":"RUN a \u0026\u0026 b # buildkit","#,
    r#""comment":"buildkit.dockerfile.v0"},{"created_by":"ENV A=1","empty_layer":true}],"#,
    r#""os":"linux","rootfs":{"type":"layers","diff_ids":["#,
    r#""sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"variant":"v8"}"#
);

#[test]
fn a_config_survives_to_the_byte() {
    let image = ImageConfig::parse(BASE.as_bytes()).unwrap();
    assert_eq!(image.config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
    assert_eq!(image.config.labels["b"], "<2>");
    assert_eq!(image.other["docker_version"], "27");
    assert_eq!(image.config.other["Hostname"], "h");
    assert_eq!(image.platform().to_string(), "linux/arm64");
    assert_eq!(String::from_utf8(image.to_bytes()).unwrap(), BASE);
}

#[test]
fn a_base_leaves_time_and_unknown_keys_behind() {
    let base = ImageConfig::parse(BASE.as_bytes()).unwrap().into_base();
    let text = String::from_utf8(base.to_bytes()).unwrap();
    for gone in ["docker_version", "Hostname", "12:00:00.1234Z"] {
        assert!(!text.contains(gone), "{gone}");
    }
}

#[test]
fn null_is_the_empty_value() {
    let text = r#"{"os":"linux","architecture":"amd64","author":null,"created":null,"history":null,
        "config":{"Env":null,"Cmd":null,"Labels":null,"Volumes":null,"Healthcheck":null,"OnBuild":null},
        "rootfs":{"type":"layers","diff_ids":null}}"#;
    let image = ImageConfig::parse(text.as_bytes()).unwrap();
    assert!(image.is_empty());
    assert_eq!(
        String::from_utf8(image.to_bytes()).unwrap(),
        r#"{"architecture":"amd64","config":{},"history":[],"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
    );
}

#[test]
fn scratch_has_a_path_and_a_directory() {
    let image = ImageConfig::scratch(&Platform::parse("linux/arm").unwrap());
    assert_eq!(
        String::from_utf8(image.to_bytes()).unwrap(),
        format!(
            r#"{{"architecture":"arm","config":{{"Env":["PATH={DEFAULT_PATH}"],"WorkingDir":"/"}},"history":[],"os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"variant":"v7"}}"#
        )
    );
    let mut windows = ImageConfig { os: "windows".into(), ..ImageConfig::default() };
    windows.ensure_path();
    assert_eq!(windows.config.env, Vec::<String>::new());
}

#[test]
fn variables_keep_their_place() {
    let mut config = ProcessConfig::default();
    for (name, value) in [("A", "1"), ("B", "2"), ("A", "3"), ("C", "")] {
        config.set_env(name, value);
    }
    assert_eq!(config.env, ["A=3", "B=2", "C="]);
    assert_eq!((config.env("C"), config.env("D")), (Some(""), None));
    let mut doubled = ProcessConfig {
        env: ["A=1", "B=2", "A=3", "D"].map(str::to_owned).into(),
        ..ProcessConfig::default()
    };
    assert_eq!((doubled.env("A"), doubled.env("D")), (Some("3"), Some("")));
    doubled.set_env("A", "4");
    assert_eq!(doubled.env, ["A=4", "B=2", "D"]);
}

#[test]
fn malformed_configs_are_errors() {
    let nested = format!("{}1{}", r#"{"a":"#.repeat(5000), "}".repeat(5000));
    let cases = [
        ("", "malformed image config"),
        ("null", "malformed image config"),
        ("[]", "malformed image config"),
        (r#"{"created":"yesterday"}"#, "malformed image config"),
        (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#, "malformed image config"),
        (r#"{"rootfs":{"type":"layers","diff_ids":["md5:1"]}}"#, "malformed image config"),
        (r#"{"rootfs":{"type":"blocks","diff_ids":[]}}"#, "unsupported rootfs type `blocks`"),
        (nested.as_str(), "malformed image config"),
    ];
    for (text, message) in cases {
        assert_eq!(ImageConfig::parse(text.as_bytes()).unwrap_err().to_string(), message, "{text}");
    }
    let huge = vec![b' '; usize::try_from(CONFIG_LIMIT).unwrap() + 1];
    assert_eq!(
        ImageConfig::parse(&huge).unwrap_err().to_string(),
        "the image config has 8388609 bytes; at most 8388608 are read"
    );
}
