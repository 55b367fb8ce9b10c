//! A writer whose bytes are written by a thread of its own, so that reading what is packed, and hashing and writing the
//! packed, do not wait for each other.
//!
//! Invariant: the bytes and the errors are those of the inner writer; an error shows at the latest at the end. What is
//! small is written without a thread. [`PIECES`] pieces are in memory, which go back and forth.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

/// So much is written sooner than a thread begins.
const SMALL: usize = 1 << 20;
const PIECES: usize = 4;

/// Calls `write` with a writer behind which `out` is; returns what that returned, and `out` once everything is written.
pub fn behind<W: Write + Send, R>(
    out: W,
    write: impl FnOnce(&mut dyn Write) -> R,
) -> (io::Result<W>, R) {
    scope(|scope| {
        let mut behind = Behind { scope, written: 0, out: Some(out), thread: None };
        let returned = write(&mut behind);
        (behind.finish(), returned)
    })
}

struct Behind<'scope, 'env, W> {
    scope: &'scope Scope<'scope, 'env>,
    /// How much was written before the thread began.
    written: usize,
    out: Option<W>,
    thread: Option<Thread<'scope, W>>,
}

struct Thread<'scope, W> {
    full: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    handle: ScopedJoinHandle<'scope, io::Result<W>>,
}

impl<'scope, W: Write + Send + 'scope> Behind<'scope, '_, W> {
    /// Starts the thread; where none is allowed, that is tried again a while later.
    fn begin(&mut self, out: W) {
        let (give, given) = channel::<W>();
        let (full, filled) = channel::<Vec<u8>>();
        let (emptied, empty) = channel();
        for _ in 0..PIECES {
            drop(emptied.send(Vec::new()));
        }
        let work = move || {
            let mut out = given.recv().map_err(io::Error::other)?;
            while let Ok(piece) = filled.recv() {
                out.write_all(&piece)?;
                drop(emptied.send(piece));
            }
            out.flush()?;
            Ok(out)
        };
        match Builder::new().name("write behind".into()).spawn_scoped(self.scope, work) {
            Ok(handle) => {
                drop(give.send(out));
                self.thread = Some(Thread { full, empty, handle });
            }
            Err(_) => (self.out, self.written) = (Some(out), 0),
        }
    }

    fn finish(mut self) -> io::Result<W> {
        match (self.thread.take(), self.out.take()) {
            (Some(Thread { full, handle, .. }), _) => {
                drop(full);
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            (None, Some(mut out)) => {
                out.flush()?;
                Ok(out)
            }
            (None, None) => Err(gone()),
        }
    }
}

impl<'scope, W: Write + Send + 'scope> Write for Behind<'scope, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(thread) = &self.thread {
            // Both fail only if the thread has ended, with an error that is returned at the end.
            let mut piece = thread.empty.recv().map_err(|_| gone())?;
            piece.clear();
            piece.extend_from_slice(bytes);
            thread.full.send(piece).map_err(|_| gone())?;
            return Ok(bytes.len());
        }
        match self.out.take() {
            Some(out) if self.written >= SMALL => {
                self.begin(out);
                self.write(bytes)
            }
            Some(mut out) => {
                let written = out.write(bytes);
                self.out = Some(out);
                self.written += written.as_ref().map_or(0, |count| *count);
                written
            }
            None => Err(gone()),
        }
    }

    /// Does nothing: the end does it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("what is behind is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => self.0 = left,
                None => return Err(io::ErrorKind::StorageFull.into()),
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order() {
        for count in [0, 3, 20, 200] {
            let pieces: Vec<Vec<u8>> = (0..count).map(|n| vec![n as u8; 100_000 + n]).collect();
            let (out, written) =
                behind(Vec::new(), |out| pieces.iter().try_for_each(|piece| out.write_all(piece)));
            written.unwrap();
            assert!(out.unwrap() == pieces.concat(), "{count}");
        }
    }

    #[test]
    fn what_is_behind_is_flushed_at_the_end() {
        for count in [1, 400] {
            let out = io::BufWriter::with_capacity(10_000, Vec::new());
            let (out, written) =
                behind(out, |out| (0..count).try_for_each(|_| out.write_all(&[7; 9_999])));
            written.unwrap();
            let (written, left) = out.unwrap().into_parts();
            assert_eq!((written.len(), left.unwrap().len()), (count * 9_999, 0));
        }
    }

    #[test]
    fn errors_are_those_of_what_is_behind() {
        for room in [0, SMALL / 2, 3 * SMALL] {
            let (out, written) =
                behind(Full(room), |out| (0..100).try_for_each(|_| out.write_all(&[0; 100_000])));
            written.unwrap_err();
            let error = out.map(drop);
            // Before there is a thread the writer gets the error itself.
            assert!(room < SMALL || error.unwrap_err().kind() == io::ErrorKind::StorageFull);
        }
    }
}
