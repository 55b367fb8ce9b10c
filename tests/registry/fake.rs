//! An HTTP server that does what a test says, to the byte: one request a connection.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    /// How many requests for the same path came before.
    pub(crate) earlier: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What follows the last byte.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hang,
    Repeat,
    Drip,
}

/// What is answered.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    then: Then,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("content-length".to_owned(), body.len().to_string())];
        Self { status, headers, body, then: Then::Close }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sends the first bytes of the body only, then closes.
    pub(crate) fn truncated(mut self, to: usize) -> Self {
        self.body.truncate(to);
        self
    }

    /// Sends the first bytes of the body only, then nothing.
    pub(crate) fn hanging(mut self, to: usize) -> Self {
        self.then = Then::Hang;
        self.truncated(to)
    }

    /// Sends the body again and again, of unsaid length.
    pub(crate) fn endless(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "content-length");
        self.then = Then::Repeat;
        self
    }

    /// Sends the body a byte at a time, with pauses.
    pub(crate) fn dripping(mut self) -> Self {
        self.then = Then::Drip;
        self
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

pub(crate) struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_whole(move |seen| match seen.path.as_str() {
            "/v2/" => Reply::new(200, "{}"),
            _ => handler(seen),
        })
    }

    /// One whose handler is asked about everything.
    pub(crate) fn start_whole(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let (log, ended, handler) = (seen.clone(), stop.clone(), Arc::new(handler));
        let thread = std::thread::spawn(move || {
            let mut hung = Vec::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                if let Some(stream) = answer(stream.unwrap(), &log, &*handler) {
                    hung.push(stream);
                }
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    /// `127.0.0.1:port`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests but the first look whether a registry is there.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.path != "/v2/").cloned().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Answers one request; returns the connection if it is to hang.
fn answer(stream: TcpStream, log: &Mutex<Vec<Seen>>, handler: &Handler) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let earlier = log.lock().unwrap().iter().filter(|seen| seen.path == path).count();
    let seen = Seen { method, path, headers, body, earlier };
    log.lock().unwrap().push(seen.clone());
    send(stream, &seen, &handler(&seen))
}

fn send(mut stream: TcpStream, seen: &Seen, reply: &Reply) -> Option<TcpStream> {
    let mut head = format!("HTTP/1.1 {} Some\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    if seen.method == "HEAD" {
        return None;
    }
    if let Then::Drip = reply.then {
        for byte in &reply.body {
            stream.write_all(&[*byte]).ok()?;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        return None;
    }
    stream.write_all(&reply.body).ok()?;
    match reply.then {
        Then::Close | Then::Drip => None,
        Then::Hang => Some(stream),
        Then::Repeat => {
            // Ends with an error when the client has had enough and closes.
            while stream.write_all(&reply.body).is_ok() {}
            None
        }
    }
}
