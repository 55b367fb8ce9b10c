//! ADD of files from the web: what lands in the image, what is asked of the server, what goes wrong.

use std::sync::{Arc, Mutex};

use crate::fake::{Fake, Reply, Seen};
use crate::support::tars::Entry;
use crate::support::{BASE, Kiln};

/// `Tue, 02 Jan 2024 03:04:05 GMT`
const TIME: (&str, u64) = ("Tue, 02 Jan 2024 03:04:05 GMT", 1_704_164_645);

/// What a server has, and how it tells versions apart.
#[derive(Clone, Default)]
struct Page {
    body: &'static str,
    etag: Option<&'static str>,
    modified: Option<&'static str>,
}

/// A server of one page at every path, which a test can replace.
struct Site {
    fake: Fake,
    page: Arc<Mutex<Page>>,
}

impl Site {
    fn new(page: Page) -> Self {
        let page = Arc::new(Mutex::new(page));
        let shown = Arc::clone(&page);
        Self { fake: Fake::start(move |seen| shown.lock().unwrap().reply(seen)), page }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.fake.host())
    }

    /// The requests, each as its path and what it was conditional on.
    fn asked(&self) -> Vec<String> {
        let conditions = ["if-none-match", "if-modified-since"];
        let one = |seen: Seen| {
            let given = conditions.iter().filter_map(|name| seen.header(name));
            given.fold(format!("{} {}", seen.method, seen.path), |line, it| format!("{line} {it}"))
        };
        self.fake.seen().into_iter().map(one).collect()
    }

    fn replace(&self, page: Page) {
        *self.page.lock().unwrap() = page;
    }
}

impl Page {
    fn reply(&self, seen: &Seen) -> Reply {
        let same = |header, own: Option<&str>| own.is_some() && seen.header(header) == own;
        let unchanged =
            same("if-none-match", self.etag) || same("if-modified-since", self.modified);
        let reply = match unchanged {
            true => Reply::new(304, ""),
            false => Reply::new(200, self.body),
        };
        let headers = [("etag", self.etag), ("last-modified", self.modified)];
        headers.iter().fold(reply, |reply, (name, value)| match value {
            Some(value) => reply.header(name, value),
            None => reply,
        })
    }
}

/// `sha256:` and the digest of a text.
fn sha256(text: &str) -> String {
    kiln::digest::Digest::of(text.as_bytes()).to_string()
}

/// Builds, and returns how many steps were cached.
fn build(kiln: &Kiln, dockerfile: &str) -> usize {
    let ended = kiln.build(dockerfile, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.cached()
}

/// Builds, and returns what is in the image: type, mode, owner and name; time; content.
fn files(kiln: &Kiln, dockerfile: &str) -> Vec<(String, u64, String)> {
    let one = |entry: Entry| (entry.line(), entry.mtime, String::from_utf8(entry.content).unwrap());
    kiln.tree(dockerfile, &[]).into_iter().map(one).collect()
}

/// A file as [`files`] has it.
fn file(line: &str, mtime: u64, content: &str) -> (String, u64, String) {
    (line.to_owned(), mtime, content.to_owned())
}

#[test]
fn a_download_is_private_and_has_the_servers_time() {
    let kiln = Kiln::new();
    let dated = Site::new(Page { body: "dated", modified: Some(TIME.0), ..Page::default() });
    let undated = Site::new(Page { body: "undated", ..Page::default() });
    let (dated, undated) = (dated.url("a"), undated.url("a"));
    let text = format!(
        "FROM scratch\nADD {dated} /a\nADD {undated} /b\nADD --chmod=4755 --chown=7:8 {dated} /c\n\
         ADD --chmod=u=rwX,go=r {dated} /d\nADD --link --chown=9 {dated} /e\n"
    );
    let expected = [
        file("- 600 0:0 a", TIME.1, "dated"),
        file("- 600 0:0 b", 0, "undated"),
        file("- 4755 7:8 c", TIME.1, "dated"),
        file("- 644 0:0 d", TIME.1, "dated"),
        file("- 600 9:9 e", TIME.1, "dated"),
    ];
    assert_eq!(files(&kiln, &text), expected);
}

#[test]
fn a_directory_gets_the_name_that_the_url_ends_in() {
    let kiln = Kiln::new();
    let site = Site::new(Page { body: "x", ..Page::default() });
    let paths = ["a/tool.bin", "a/query?v=1/2#f", "a/slash/", "a/sp%20ace", "a/%2e%2e%2fup", ""];
    let adds = paths.map(|path| format!("ADD {} /d/\n", site.url(path)));
    let found = files(&kiln, &format!("FROM scratch\n{}", adds.concat()));
    let lines: Vec<_> = found.iter().map(|(line, ..)| line.as_str()).collect();
    let names = ["%2e%2e%2fup", "__unnamed__", "query", "slash", "sp ace", "tool.bin"];
    let expected = names.map(|name| format!("- 600 0:0 d/{name}"));
    assert_eq!(lines[0], "d 755 0:0 d/");
    assert_eq!(lines[1..], expected);
}

#[test]
fn a_file_with_a_checksum_is_asked_for_once() {
    let kiln = Kiln::new();
    let site = Site::new(Page { body: "tool", etag: Some("\"1\""), ..Page::default() });
    let text = |rest: &str| {
        let (sum, url) = (sha256("tool"), site.url("tool"));
        format!("FROM scratch\nADD --checksum={sum} {url} /tool\n{rest}")
    };
    assert_eq!(build(&kiln, &text("")), 0);
    assert_eq!(build(&kiln, &text("")), 1);
    // A server that has something else by now is not asked.
    site.replace(Page { body: "other", etag: Some("\"2\""), ..Page::default() });
    assert_eq!(build(&kiln, &text("WORKDIR /d\n")), 1);
    let again = kiln.build(&text(""), &["--no-cache"]);
    assert_eq!((again.cached(), again.code), (0, Some(0)), "{}", again.stderr);
    assert_eq!(site.asked(), ["GET /tool"]);
    assert_eq!(files(&kiln, &text("")), [file("- 600 0:0 tool", 0, "tool")]);
}

#[test]
fn a_file_with_another_checksum_is_refused() {
    let kiln = Kiln::new();
    let site = Site::new(Page { body: "tool", ..Page::default() });
    let (url, wanted, found) = (site.url("tool"), sha256("tools"), sha256("tool"));
    let add = format!("ADD --checksum={wanted} {url} /tool");
    let refused = kiln.build(&format!("FROM scratch\n{add}\n"), &[]);
    let report = format!(
        "error: `{url}` has the digest `{found}`, not `{wanted}`\n --> Dockerfile:2:1\n  |\n2 | {}\n  | {}\n",
        add.chars().take(160).collect::<String>(),
        "^".repeat(add.len().min(160))
    );
    assert_eq!((refused.error(), refused.code), (report, Some(2)));
    // What was refused is not kept: neither for the same file nor for one that asks for what came.
    assert_eq!(kiln.build(&format!("FROM scratch\n{add}\n"), &[]).code, Some(2));
    let right = format!("FROM scratch\nADD --checksum={found} {url} /tool\n");
    assert_eq!(kiln.build(&right, &[]).code, Some(0));
    assert_eq!(kiln.build(&format!("FROM scratch\n{add}\n"), &[]).code, Some(2));
}

#[test]
fn checksums_that_cannot_be_met_are_refused_before_anything_is_asked() {
    let kiln = Kiln::new();
    let site = Site::new(Page { body: "tool", ..Page::default() });
    let (url, sum) = (site.url("tool"), sha256("tool"));
    let cases = [
        (format!("ADD --checksum={sum} busybox /"), "`--checksum` needs a source from the web"),
        (format!("ADD --checksum={sum} {url} {url} /d/"), "`--checksum` needs exactly one source"),
        (format!("COPY {url} /"), "the source of COPY cannot be a URL"),
    ];
    for (line, message) in cases {
        let ended = kiln.build(&format!("FROM scratch\n{line}\n"), &[]);
        let first = ended.error().lines().next().map(str::to_owned);
        assert_eq!((first, ended.code), (Some(format!("error: {message}")), Some(2)));
    }
    assert_eq!(site.asked(), Vec::<String>::new());
}

#[test]
fn an_unchanged_file_is_revalidated_and_not_sent_again() {
    let by_tag = Page { body: "one", etag: Some("\"v1\""), modified: Some(TIME.0) };
    let by_time = Page { body: "one", etag: None, modified: Some(TIME.0) };
    let by_nothing = Page { body: "one", ..Page::default() };
    let condition = [" \"v1\"".to_owned(), format!(" {}", TIME.0), String::new()];
    for (page, condition) in [by_tag, by_time, by_nothing].into_iter().zip(condition) {
        let (kiln, site) = (Kiln::new(), Site::new(page));
        let text = format!("FROM scratch\nADD {} /file\nWORKDIR /after\n", site.url("f"));
        assert_eq!(build(&kiln, &text), 0);
        assert_eq!(build(&kiln, &text), 2);
        assert_eq!(site.asked(), ["GET /f".to_owned(), format!("GET /f{condition}")]);
        let later = Some("Wed, 03 Jan 2024 03:04:05 GMT");
        site.replace(Page { body: "two", etag: Some("\"v2\""), modified: later });
        assert_eq!(build(&kiln, &text), 0, "new content is seen");
        assert_eq!(site.asked()[2], format!("GET /f{condition}"));
        assert_eq!(files(&kiln, &text)[1], file("- 600 0:0 file", TIME.1 + 86_400, "two"));
        assert_eq!(site.asked()[3], "GET /f \"v2\"", "the newest validator counts");
    }
}

#[test]
fn an_archive_is_unpacked_only_on_request() {
    let kiln = Kiln::new();
    kiln.file("in/file", "content");
    let mut tar = std::process::Command::new("tar");
    let archive = tar.args(["cz", "in"]).current_dir(kiln.context()).output().unwrap().stdout;
    let site = Fake::start(move |_| Reply::new(200, archive.clone()));
    let url = format!("http://{}/a.tar.gz", site.host());
    let tree = |add: &str| kiln.tree(&format!("FROM scratch\nADD {add} {url} /d/\n"), &[]);
    let lines = |add: &str| tree(add).iter().map(Entry::line).collect::<Vec<_>>();
    assert_eq!(lines(""), ["d 755 0:0 d/", "- 600 0:0 d/a.tar.gz"]);
    let unpacked = ["d 755 3:4 d/", "d 755 3:4 d/in/", "- 644 3:4 d/in/file"];
    assert_eq!(lines("--unpack=true --chown=3:4"), unpacked);
}

/// A server's answer, what the report says of it, and the exit code.
fn fails(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static, problem: &str, code: i32) {
    let kiln = Kiln::new();
    let site = Fake::start(answer);
    let url = format!("http://{}/f", site.host());
    let add = format!("ADD {url} /f");
    let ended = kiln.build(&format!("FROM scratch\n{add}\n"), &[]);
    let carets = "^".repeat(add.len());
    let problem = problem.replace("URL", &url);
    let report = format!("error: {problem}\n --> Dockerfile:2:1\n  |\n2 | {add}\n  | {carets}\n");
    assert_eq!((ended.error(), ended.code), (report, Some(code)), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(kiln.path("state/tmp")).unwrap().count(), 0);
}

#[test]
fn what_a_server_refuses_fails_the_step() {
    fails(|_| Reply::new(404, "nothing"), "cannot download `URL`: the server answered 404", 2);
    fails(|_| Reply::new(500, ""), "cannot download `URL`: the server answered 500", 3);
    fails(|_| Reply::new(304, ""), "cannot download `URL`: the server answered 304", 3);
}

#[test]
fn a_redirect_leads_to_the_file_and_leaves_its_name() {
    let kiln = Kiln::new();
    let target = Site::new(Page { body: "there", ..Page::default() });
    let to = target.url("other-name");
    let site = Fake::start(move |_| Reply::new(302, "").header("location", &to));
    let found = files(&kiln, &format!("FROM scratch\nADD http://{}/name /d/\n", site.host()));
    assert_eq!(found[1], file("- 600 0:0 d/name", 0, "there"));
}

#[test]
fn a_file_that_ends_too_early_is_not_used() {
    let kiln = Kiln::new();
    let site = Fake::start(|seen| match seen.earlier {
        0 => Reply::new(200, "whole").truncated(2),
        _ => Reply::new(200, "whole"),
    });
    let text = format!("FROM scratch\nADD http://{}/f /f\n", site.host());
    let ended = kiln.build(&text, &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let message = format!("error: cannot download `http://{}/f`: ", site.host());
    assert!(ended.error().starts_with(&message), "{}", ended.stderr);
    assert_eq!(files(&kiln, &text), [file("- 600 0:0 f", 0, "whole")]);
}

#[test]
fn a_base_is_pulled_anew_or_the_build_fails() {
    let kiln = Kiln::new();
    let server = Fake::start(|_| Reply::new(404, ""));
    let base = format!("{}/base:1", server.host());
    assert_eq!(kiln.build(BASE, &["--tag", &base]).code, Some(0));
    let text = format!("FROM {base}\nRUN true\n");
    let ended = kiln.build(&text, &["--pull"]);
    assert_eq!(ended.code, Some(0), "a name that only this machine has: {}", ended.stderr);
    drop(server);
    let ended = kiln.build(&text, &["--pull"]);
    assert_eq!(ended.code, Some(3), "nobody answers any more: {}", ended.stderr);
    assert!(ended.error().starts_with("error: cannot find the base image"), "{}", ended.stderr);
    assert_eq!(kiln.build(&text, &[]).code, Some(0), "it was not asked for anew");
}
