//! A reader that works ahead in a thread of its own, so that fetching, decompressing and writing do not wait for each
//! other.
//!
//! Invariant: the bytes, the end and the errors are those of the inner reader; a thread that dies is an error,
//! never an early end. [`PIECES`] pieces are in memory, which go back and forth. Dropping it ends the thread at its
//! next piece.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// A reader ahead of its own reader.
pub struct Ahead {
    full: Receiver<Piece>,
    empty: Sender<Piece>,
    fault: Fault,
    piece: Piece,
    at: usize,
    ended: bool,
}

/// What reads ahead.
pub struct Reading<'scope, R> {
    thread: ScopedJoinHandle<'scope, R>,
    fault: Fault,
}

/// Bytes, and how many of them count.
struct Piece {
    bytes: Vec<u8>,
    filled: usize,
}

/// Why reading ended, until the reader gets there.
type Fault = Arc<Mutex<Option<io::Error>>>;

fn take(fault: &Fault) -> Option<io::Error> {
    fault.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Ahead {
    /// Starts reading, in a thread of the scope.
    pub fn new<'scope, R: Read + Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        input: R,
    ) -> io::Result<(Self, Reading<'scope, R>)> {
        let (to_fill, emptied) = channel();
        let (to_empty, full) = channel();
        let new = || Piece { bytes: vec![0; PIECE], filled: 0 };
        for _ in 1..PIECES {
            drop(to_fill.send(new()));
        }
        let fault = Fault::default();
        let noted = Arc::clone(&fault);
        let work = move || work(input, &emptied, &to_empty, &noted);
        let thread = Builder::new().name("read ahead".into()).spawn_scoped(scope, work)?;
        let reading = Reading { thread, fault: Arc::clone(&fault) };
        let (piece, at, ended) = (new(), 0, false);
        Ok((Self { full, empty: to_fill, fault, piece, at, ended }, reading))
    }
}

impl<R> Reading<'_, R> {
    /// Waits for the thread, whose reader has come to the end or was dropped. Returns what it read from, and the error
    /// that nobody has got to yet.
    pub fn join(self) -> (R, Option<io::Error>) {
        match self.thread.join() {
            Ok(input) => (input, take(&self.fault)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn work<R: Read>(
    mut input: R,
    emptied: &Receiver<Piece>,
    full: &Sender<Piece>,
    fault: &Fault,
) -> R {
    // Nobody listens any more if the reader was dropped.
    while let Ok(mut piece) = emptied.recv() {
        let filled = fill(&mut input, &mut piece);
        let last = filled.is_err() || piece.filled == 0;
        // What came before an error is read before it.
        let goes_on = match filled {
            Ok(()) => full.send(piece).is_ok(),
            Err(error) => {
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                piece.filled > 0 && full.send(piece).is_ok()
            }
        };
        if last || !goes_on {
            break;
        }
    }
    input
}

/// Reads a piece, shorter only at the end.
fn fill(input: &mut impl Read, piece: &mut Piece) -> io::Result<()> {
    piece.filled = 0;
    while piece.filled < piece.bytes.len() {
        match input.read(&mut piece.bytes[piece.filled..]) {
            Ok(0) => break,
            Ok(read) => piece.filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Read for Ahead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.filled && !self.ended {
            let next = self.full.recv().map_err(|_| {
                take(&self.fault).unwrap_or_else(|| io::Error::other("the reader ended early"))
            })?;
            // The thread may have ended with nothing to do.
            drop(self.empty.send(std::mem::replace(&mut self.piece, next)));
            (self.at, self.ended) = (0, self.piece.filled == 0);
        }
        let rest = &self.piece.bytes[self.at..self.piece.filled];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes, then an error.
    struct Fails(usize);

    impl Read for Fails {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.min(buf.len()).min(1000);
            self.0 -= n;
            if n == 0 { Err(io::Error::other("broken")) } else { Ok(n) }
        }
    }

    #[test]
    fn bytes_and_errors_come_in_order() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        std::thread::scope(|scope| {
            let (mut ahead, reading) = Ahead::new(scope, io::Cursor::new(&bytes)).unwrap();
            let mut found = Vec::new();
            ahead.read_to_end(&mut found).unwrap();
            assert!(found == bytes);
            assert_eq!(ahead.read(&mut [0]).unwrap(), 0);
            let (input, fault) = reading.join();
            assert_eq!((input.position(), fault.is_none()), (3_000_000, true));
        });
        for length in [0, 1, PIECE, 5 * PIECE + 7] {
            std::thread::scope(|scope| {
                let (mut ahead, reading) = Ahead::new(scope, Fails(length)).unwrap();
                let mut found = Vec::new();
                let error = ahead.read_to_end(&mut found).unwrap_err();
                assert_eq!((found.len(), error.to_string()), (length, "broken".into()));
                // It does not look like an end afterwards.
                assert!(ahead.read(&mut [0]).is_err());
                assert!(reading.join().1.is_none());
            });
        }
    }

    #[test]
    fn who_stops_early_gets_the_rest_and_the_error() {
        std::thread::scope(|scope| {
            let (ahead, reading) = Ahead::new(scope, io::repeat(1)).unwrap();
            drop(ahead);
            let (mut rest, fault) = reading.join();
            assert_eq!((rest.read(&mut [0; 9]).unwrap(), fault.is_none()), (9, true));
            let (mut ahead, reading) = Ahead::new(scope, Fails(1000)).unwrap();
            assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 10);
            let error = reading.join().1.unwrap();
            assert_eq!(error.to_string(), "broken");
        });
    }
}
