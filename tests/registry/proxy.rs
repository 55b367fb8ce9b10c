//! A proxy before a real registry that does wrong things, chosen by a seed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::rng::Rng;

/// What is done to one exchange. Offsets are of the body, as thousandths of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    None,
    /// The connection closes while the request is on its way.
    CutRequest,
    /// The connection closes while the answer is on its way, perhaps within its head.
    CutAnswer,
    /// The registry does what it was asked, and nobody hears of it.
    Swallow,
    /// Too many requests, to be tried again at once or after a second.
    Busy,
    /// 500, 502, 503 or 504, and the registry never knows.
    Broken,
    /// 500, 502, 503 or 504, although the registry did it.
    BrokenAfter,
    /// One bit of the request's body is another.
    FlipRequest,
    /// One bit of the answer's body is another.
    FlipAnswer,
    /// The body is shorter, and so is what the head says of it.
    Shorten,
    /// The digest in the head is another.
    Misname,
    /// The answer comes slowly.
    Slow,
    /// The answer does not come.
    Silent,
    /// All is well, but the connection that was to be kept is closed.
    Leave,
}

const FAULTS: [Fault; 13] = [
    Fault::CutRequest,
    Fault::CutAnswer,
    Fault::Swallow,
    Fault::Busy,
    Fault::Broken,
    Fault::BrokenAfter,
    Fault::FlipRequest,
    Fault::FlipAnswer,
    Fault::Shorten,
    Fault::Misname,
    Fault::Slow,
    Fault::Silent,
    Fault::Leave,
];

struct Shared {
    upstream: String,
    seed: AtomicU64,
    /// How many exchanges there were since it was seeded.
    count: AtomicU64,
    calm: AtomicBool,
    stop: AtomicBool,
    /// Whether a manifest was changed on its way to the registry.
    renamed: AtomicBool,
    done: Mutex<Vec<Fault>>,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            seed: AtomicU64::new(0),
            count: AtomicU64::new(0),
            calm: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            renamed: AtomicBool::new(false),
            done: Mutex::default(),
        });
        let here = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if here.stop.load(Ordering::Acquire) {
                    return;
                }
                let (stream, here) = (stream.unwrap(), Arc::clone(&here));
                // An exchange that breaks is what this is about.
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    while exchange(&stream, &mut reader, &here) == Some(Then::Keep) {}
                });
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Begins to do wrong things, the same for the same seed and the same requests.
    pub(crate) fn disturb(&self, seed: u64) {
        self.shared.seed.store(seed, Ordering::Release);
        self.shared.count.store(0, Ordering::Release);
        self.shared.renamed.store(false, Ordering::Release);
        self.shared.calm.store(false, Ordering::Release);
    }

    /// Passes everything on from now on.
    pub(crate) fn calm(&self) {
        self.shared.calm.store(true, Ordering::Release);
    }

    /// Whether, since it was last seeded, the registry got another manifest than was sent.
    pub(crate) fn renamed(&self) -> bool {
        self.shared.renamed.load(Ordering::Acquire)
    }

    /// The faults since the last time.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        std::mem::take(&mut *self.shared.done.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Chooses what is done to the next exchange.
    fn choose(&self) -> (Fault, Rng) {
        let number = self.count.fetch_add(1, Ordering::AcqRel);
        let seed = self.seed.load(Ordering::Acquire);
        let mut rng = Rng::new(seed ^ (number << 32));
        rng.next();
        // Some seeds are worse than others.
        let rarity = 2 + (seed % 7) as usize;
        if self.calm.load(Ordering::Acquire) || !rng.one_in(rarity) {
            return (Fault::None, rng);
        }
        let fault = FAULTS[rng.below(FAULTS.len())];
        // It costs as long as the client is patient.
        let fault =
            if fault == Fault::Silent && !rng.one_in(20) { Fault::CutAnswer } else { fault };
        self.done.lock().unwrap().push(fault);
        (fault, rng)
    }
}

/// The head of a message, and how long its body is.
struct Head {
    lines: Vec<String>,
}

impl Head {
    fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end() {
                "" => return Some(Self { lines }),
                line => lines.push(line.to_owned()),
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        let mut found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.lines.retain(|line| {
            !line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
        });
        self.lines.push(format!("{name}: {value}"));
    }

    fn length(&self) -> usize {
        self.get("content-length").map_or(0, |length| length.parse().unwrap())
    }

    fn bytes(&self) -> Vec<u8> {
        (self.lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }
}

/// What becomes of the connection after an answer; with none it is closed.
#[derive(PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

fn exchange(
    mut client: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    shared: &Shared,
) -> Option<Then> {
    let mut head = Head::read(reader)?;
    let (fault, mut rng) = shared.choose();
    let mut body = vec![0; head.length()];
    head.set("connection", "close");
    match fault {
        Fault::CutRequest => {
            let part = rng.below(body.len() + 1);
            reader.read_exact(&mut body[..part]).ok()?;
            let mut upstream = TcpStream::connect(&shared.upstream).ok()?;
            upstream.write_all(&head.bytes()).ok()?;
            upstream.write_all(&body[..part]).ok()?;
            return None;
        }
        Fault::Busy | Fault::Broken => {
            // Some answer before they have heard all.
            let part = if rng.one_in(4) { rng.below(body.len() + 1) } else { body.len() };
            reader.read_exact(&mut body[..part]).ok()?;
            client.write_all(&refusal(fault, &mut rng)).ok()?;
            return None;
        }
        _ => reader.read_exact(&mut body).ok()?,
    }
    if let (Fault::FlipRequest, false) = (fault, body.is_empty()) {
        let at = rng.below(body.len());
        body[at] ^= 1 << rng.below(8);
        if head.lines[0].contains("/manifests/") {
            shared.renamed.store(true, Ordering::Release);
        }
    }
    let mut upstream = TcpStream::connect(&shared.upstream).ok()?;
    upstream.write_all(&head.bytes()).ok()?;
    upstream.write_all(&body).ok()?;
    let mut answer = BufReader::new(upstream);
    let (mut head, mut body) = (Head::read(&mut answer)?, Vec::new());
    answer.read_to_end(&mut body).ok()?;
    if fault == Fault::Swallow {
        return None;
    }
    let then = answer_with(client, fault, (&mut head, &mut body), &mut rng)?;
    if fault == Fault::Silent {
        // Until the client gives up.
        drop(client.set_read_timeout(Some(Duration::from_secs(20))));
        drop(reader.read(&mut [0]));
        return None;
    }
    Some(then)
}

/// Passes an answer on, more or less.
fn answer_with(
    mut client: &TcpStream,
    fault: Fault,
    (head, body): (&mut Head, &mut Vec<u8>),
    rng: &mut Rng,
) -> Option<Then> {
    let mut then = Then::Close;
    if head.get("content-length").is_some() {
        head.set("connection", "keep-alive");
        then = Then::Keep;
    }
    spoil(fault, head, body, rng);
    let bytes = [head.bytes(), std::mem::take(body)].concat();
    match fault {
        Fault::Silent => {}
        Fault::BrokenAfter => {
            client.write_all(&refusal(fault, rng)).ok()?;
            return None;
        }
        Fault::CutAnswer => {
            client.write_all(&bytes[..rng.below(bytes.len())]).ok()?;
            return None;
        }
        Fault::Slow => {
            for piece in bytes.chunks(bytes.len() / 4 + 1) {
                std::thread::sleep(Duration::from_millis(3));
                client.write_all(piece).ok()?;
            }
        }
        _ => client.write_all(&bytes).ok()?,
    }
    (fault != Fault::Leave).then_some(then)
}

/// Changes an answer.
fn spoil(fault: Fault, head: &mut Head, body: &mut Vec<u8>, rng: &mut Rng) {
    match fault {
        Fault::FlipAnswer if !body.is_empty() => {
            let at = rng.below(body.len());
            body[at] ^= 1 << rng.below(8);
        }
        Fault::Shorten if !body.is_empty() && head.get("content-length").is_some() => {
            body.truncate(rng.below(body.len()));
            head.set("content-length", &body.len().to_string());
        }
        Fault::Misname if head.get("docker-content-digest").is_some() => {
            let other = kiln::digest::Digest::of(&rng.next().to_le_bytes());
            head.set("docker-content-digest", &other.to_string());
        }
        _ => {}
    }
}

fn refusal(fault: Fault, rng: &mut Rng) -> Vec<u8> {
    let status = match fault {
        Fault::Busy => 429,
        _ => [500, 502, 503, 504][rng.below(4)],
    };
    let after = match (fault, rng.one_in(40)) {
        (Fault::Busy, true) => "retry-after: 1\r\n",
        (Fault::Busy, false) => "retry-after: 0\r\n",
        _ => "",
    };
    let text = format!(
        "HTTP/1.1 {status} Some\r\nconnection: close\r\n{after}content-length: 4\r\n\r\nbusy"
    );
    text.into_bytes()
}
