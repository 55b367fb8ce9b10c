//! Gzip on several threads, the same bytes on any number of them.
//!
//! The input is cut into blocks of [`BLOCK`] bytes, wherever the writes end. Each becomes raw deflate data of its
//! own, ended by a sync flush, and all of them one gzip member with one checksum, as pigz makes it, so every reader
//! takes it. Invariant: the output depends on the input and the level alone; the block size is part of the format.
//! Memory is bounded by a few blocks a thread.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use flate2::{Compress, Compression, FlushCompress};

/// Changing this changes the digest of every layer.
const BLOCK: usize = 1 << 20;

/// The magic, deflate, no name, no time, no hint, unknown system: what Go writes.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block of deflate.
const END: [u8; 2] = [3, 0];

type Done = (Vec<u8>, crc32fast::Hasher);
type Job = (Vec<u8>, SyncSender<io::Result<Done>>);

/// A gzip file being written.
pub(super) struct GzipEncoder<W> {
    out: W,
    block: Vec<u8>,
    checksum: crc32fast::Hasher,
    length: u64,
    engine: Engine,
}

enum Engine {
    Here(Box<Deflater>),
    Threads(Pool),
}

impl<W: Write> GzipEncoder<W> {
    /// Begins a file. With one thread the work is done by the writer itself.
    pub(super) fn new(mut out: W, level: u32, threads: usize) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        let engine = if threads > 1 {
            Engine::Threads(Pool::start(level, threads)?)
        } else {
            Engine::Here(Box::new(Deflater::new(level)))
        };
        let block = Vec::with_capacity(BLOCK);
        Ok(Self { out, block, checksum: crc32fast::Hasher::new(), length: 0, engine })
    }

    /// Writes what is left and returns the inner writer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.submit()?;
        }
        self.collect(0)?;
        self.out.write_all(&END)?;
        self.out.write_all(&self.checksum.finalize().to_le_bytes())?;
        self.out.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.out)
    }

    fn submit(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        self.length += block.len() as u64;
        match &mut self.engine {
            Engine::Here(deflater) => {
                let done = deflater.deflate(&block)?;
                self.block = block;
                self.block.clear();
                self.append(&done)
            }
            Engine::Threads(pool) => {
                pool.submit(block)?;
                let most = pool.most_pending();
                self.collect(most)
            }
        }
    }

    /// Writes finished blocks in order until at most `pending` are left.
    fn collect(&mut self, pending: usize) -> io::Result<()> {
        while let Engine::Threads(pool) = &mut self.engine {
            if pool.pending.len() <= pending {
                break;
            }
            let done = pool.next()?;
            self.append(&done)?;
        }
        Ok(())
    }

    fn append(&mut self, (bytes, checksum): &Done) -> io::Result<()> {
        self.checksum.combine(checksum);
        self.out.write_all(bytes)
    }
}

impl<W: Write> Write for GzipEncoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&buf[..n]);
        if self.block.len() == BLOCK {
            self.submit()?;
        }
        Ok(n)
    }

    /// Does not end the block that is being filled: where blocks end must not depend on who flushes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses blocks, one at a time.
struct Deflater(Compress);

impl Deflater {
    fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level), false))
    }

    fn deflate(&mut self, block: &[u8]) -> io::Result<Done> {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(block);
        self.0.reset();
        let mut out = Vec::with_capacity(block.len() / 2 + 1024);
        loop {
            let consumed = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
            let rest = block.get(consumed..).unwrap_or_default();
            self.0.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
            // Done when everything is in and the flush left room behind it.
            if self.0.total_in() == block.len() as u64 && out.len() < out.capacity() {
                return Ok((out, checksum));
            }
            out.reserve(block.len() / 2 + 1024);
        }
    }
}

/// Threads that compress blocks, and the blocks they have not given back yet, in order.
struct Pool {
    jobs: Option<SyncSender<Job>>,
    pending: VecDeque<Receiver<io::Result<Done>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start(level: u32, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let spawn = |_| {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("gzip".into()).spawn(move || serve(&queue, level))
        };
        let threads = (0..threads).map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), pending: VecDeque::new(), threads })
    }

    fn most_pending(&self) -> usize {
        2 * self.threads.len()
    }

    fn submit(&mut self, block: Vec<u8>) -> io::Result<()> {
        let (answer, done) = sync_channel(1);
        self.pending.push_back(done);
        let sent = self.jobs.as_ref().map(|jobs| jobs.send((block, answer)));
        sent.and_then(Result::ok).ok_or_else(lost)
    }

    fn next(&mut self) -> io::Result<Done> {
        let done = self.pending.pop_front().ok_or_else(lost)?;
        done.recv().map_err(|_| lost())?
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has already failed the block it had.
            let _ = thread.join();
        }
    }
}

fn serve(queue: &Mutex<Receiver<Job>>, level: u32) {
    let mut deflater = Deflater::new(level);
    loop {
        let Ok(Ok((block, answer))) = queue.lock().map(|queue| queue.recv()) else { return };
        // Nobody waits for the answer if the encoder was dropped.
        let _ = answer.send(deflater.deflate(&block));
    }
}

fn lost() -> io::Error {
    io::Error::other("a compression thread ended early")
}
