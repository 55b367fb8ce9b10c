//! `kiln layers`.

use serde_json::{Value, json};

use super::{HOSTILE, SHOWN, fails, images, shown};

const TABLE: &str = r"LAYER   SIZE     FILES   ADDED       REPLACED    REMOVED   WASTED      CREATED BY
1       8.7kB    5.0kB   3 (5.0kB)   -           -         3 (5.0kB)   COPY a b big / # buildkit
2       3.5kB    3B      2 (3B)      -           -         2 (3B)      COPY d /d # buildkit
3       2.0kB    6B      -           1 (6B)      -         1 (6B)      COPY b /a # buildkit
4       6.6kB    5.0kB   -           1 (5.0kB)   -         1 (5.0kB)   COPY --chmod=600 big / # buildkit
5       3.5kB    1B      1 (1B)      -           -         1 (1B)      COPY hostile / # buildkit
6       3.5kB    0B      -           -           3 (9B)    -           RUN /busybox sh -c rm -r /d /b # buildkit
7       10.2kB   5.0kB   2 (0B)      2 (5.0kB)   1 (1B)    -           RUN /busybox sh -c rm /evil* && ln /big /link && chown 7:8 /a && ln -s big /sym # buildk…

7 layers: 38.4kB stored, 15.0kB of files
efficiency 33.3%: the image has 5.0kB of these 15.0kB; 10.0kB in 8 files wasted
layer 4 copies 1 file (5.0kB) of lower layers: same bytes, other mode
layer 7 copies 2 files (5.0kB) of lower layers: same bytes, other owner

WASTED   FILES   PATH                                           LAYERS
10.0kB   2       /big                                           1 copied by 4 (same bytes, other mode), 4 copied by 7 (same bytes and metadata)
9B       2       /a                                             1 replaced by 3, 3 copied by 7 (same bytes, other owner)
6B       1       /b                                             1 removed by 6
3B       2       /d/                                            2 removed by 6
1B       1       /evil\n\x1b[31m<img src=x onerror='a()'>\xff   5 removed by 7
";

#[test]
fn a_line_for_each_layer_totals_and_the_worst() {
    let kiln = images();
    assert_eq!(shown(&kiln, &["layers", "app"]), TABLE);
}

#[test]
fn as_many_offenders_as_asked_for_and_commands_in_full() {
    let kiln = images();
    let text = shown(&kiln, &["layers", "--top", "1", "--no-trunc", "app"]);
    assert!(text.contains("ln -s big /sym # buildkit\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("copied by 4")).count(), 1);
    assert!(text.ends_with("\nand 4 more paths\n"), "{text}");
    let text = shown(&kiln, &["layers", "base"]);
    assert!(text.ends_with(
        "efficiency 100.0%: the image has 5.0kB of these 5.0kB; 0B in 0 files wasted\n"
    ));
}

#[test]
fn json_has_every_number() {
    let kiln = images();
    let text = shown(&kiln, &["layers", "--format", "json", "app"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["Files"], 5009 + 3 + 6 + 5000 + 1 + 5006);
    assert_eq!(value["Layers"][6]["Replaced"], json!({ "Count": 2, "Bytes": 5006 }));
    let evil = &value["Offenders"][4];
    let path = String::from_utf8_lossy(HOSTILE).into_owned();
    assert_eq!(evil["Path"], format!("/{path}"));
    let digits: String = HOSTILE.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(evil["PathBytes"], digits);
    let layers = json!([{ "Layer": 5, "By": 7, "How": "removed", "Aspects": null }]);
    assert_eq!(evil["Layers"], layers);
    assert_eq!(value["Offenders"][0]["Layers"][0]["Aspects"], json!(["mode"]));
    assert!(!text.contains('\x1b'));
}

#[test]
fn the_page_needs_nothing_and_lets_nothing_out() {
    let kiln = images();
    let page = kiln.path("page.html");
    let drawn = shown(&kiln, &["layers", "--html", page.to_str().unwrap(), "app"]);
    assert_eq!(drawn, shown(&kiln, &["layers", "app"]));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>\n"));
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    for forbidden in ["<script", "<img", "<link", "://", "url(h", "@import", "\x1b", "onerror='"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let name = SHOWN.replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;");
    let title = format!("<title>{name}: 1B, wasted: removed by layer 7</title>");
    assert!(page.contains(&format!("<td><code>{name}</code><td>5 removed by 7\n")), "{page}");
    assert!(page.contains(
        "<title>/big: 5.0kB, wasted: copied by layer 4 (same bytes, other mode)</title>"
    ));
    assert!(page.contains(&title));
}

#[test]
fn what_cannot_be_shown() {
    let kiln = images();
    let hint = "  hint: `kiln images` lists those that are there\n";
    let missing = format!("error: there is no image `no` in the local store\n{hint}");
    fails(&kiln, &["layers", "no"], 2, &missing);
    let message = "error: cannot write `/no/page.html`: No such file or directory (os error 2)\n";
    fails(&kiln, &["layers", "--html", "/no/page.html", "app"], 3, message);
}
