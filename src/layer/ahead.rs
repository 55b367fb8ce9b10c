//! A reader that works ahead in a thread of its own, so that decompressing and writing do not wait for each other.
//!
//! Invariant: the bytes, the end and the errors are those of the inner reader; a thread that dies is an error,
//! never an early end. At most [`AHEAD`] pieces are in memory. Dropping it ends the thread at its next piece.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

const PIECE: usize = 256 << 10;
const AHEAD: usize = 4;

/// A reader ahead of its own reader.
pub struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Ahead {
    /// Starts reading.
    pub fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(AHEAD);
        let mut input = input;
        thread::Builder::new().name("read ahead".into()).spawn(move || {
            loop {
                let piece = read_piece(&mut input);
                let last = !matches!(&piece, Ok(piece) if !piece.is_empty());
                // Nobody listens any more if the reader was dropped.
                if sender.send(piece).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, piece: Vec::new(), at: 0, ended: false })
    }
}

/// Reads a piece, shorter only at the end.
fn read_piece(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE);
    input.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

impl Read for Ahead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            let next =
                self.pieces.recv().map_err(|_| io::Error::other("the reader ended early"))?;
            self.ended = next.is_err();
            self.piece = next?;
            self.ended = self.piece.is_empty();
            self.at = 0;
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_errors_come_in_order() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let mut found = Vec::new();
        let mut ahead = Ahead::new(io::Cursor::new(bytes.clone())).unwrap();
        ahead.read_to_end(&mut found).unwrap();
        assert!(found == bytes);
        assert_eq!(ahead.read(&mut [0]).unwrap(), 0);
        let error = Ahead::new(Fails).unwrap().read(&mut [0]).unwrap_err();
        assert_eq!(error.to_string(), "broken");
        drop(Ahead::new(io::repeat(1)).unwrap());
    }
}
