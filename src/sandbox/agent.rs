//! What a command may ask of the user's SSH agent: which keys there are, and signatures. As BuildKit's, it is not to add
//! or remove keys, lock the agent or use its extensions.
//!
//! A message of the protocol (draft-miller-ssh-agent, section 3) is its length in four bytes, big-endian, and then that
//! many bytes, the first of which says what it is. Every request has one answer, in order.

use std::io::{self, Read, Write};

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
/// The answer to a request that is not served.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// As in OpenSSH's agent.
const LONGEST: usize = 256 << 10;

/// Serves requests from `inside` with the answers of `outside` until one of them ends, which is no error between two
/// messages.
pub(super) fn converse(
    inside: &mut (impl Read + Write),
    outside: &mut (impl Read + Write),
) -> io::Result<()> {
    while let Some(request) = message(inside)? {
        if !matches!(request.get(4), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST))) {
            inside.write_all(&FAILURE)?;
            continue;
        }
        outside.write_all(&request)?;
        let Some(answer) = message(outside)? else { return Ok(()) };
        inside.write_all(&answer)?;
    }
    Ok(())
}

/// Reads one message with its length; `None` at the end.
fn message(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let size = u32::from_be_bytes(length) as usize;
    if size > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = length.to_vec();
    message.resize(4 + size, 0);
    from.read_exact(&mut message[4..])?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One side of a conversation: what it says, and what it is told.
    struct Side(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Side {
        fn says(messages: &[&[u8]]) -> Self {
            let length = |message: &[u8]| u32::try_from(message.len()).unwrap().to_be_bytes();
            let bytes = messages.iter().flat_map(|it| [&length(it)[..], it].concat()).collect();
            Self(io::Cursor::new(bytes), Vec::new())
        }
    }

    impl Read for Side {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Side {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn keys_are_listed_and_used_but_never_changed() {
        // Add, remove, remove all, lock, unlock, add with constraints, an extension, nothing at all.
        let refused: [&[u8]; 8] = [&[17, 1], &[18, 1], &[19], &[22], &[23], &[25], &[27], &[]];
        for request in refused {
            let (mut inside, mut outside) = (Side::says(&[&[11], request]), Side::says(&[&[12]]));
            converse(&mut inside, &mut outside).unwrap();
            assert_eq!(outside.1, [0, 0, 0, 1, 11], "{request:?}");
            assert_eq!(inside.1, [0, 0, 0, 1, 12, 0, 0, 0, 1, 5], "{request:?}");
        }
        let (mut inside, mut outside) = (Side::says(&[&[13, 1, 2]]), Side::says(&[&[14, 3]]));
        converse(&mut inside, &mut outside).unwrap();
        assert_eq!((outside.1, inside.1), (vec![0, 0, 0, 3, 13, 1, 2], vec![0, 0, 0, 2, 14, 3]));
    }

    #[test]
    fn what_is_too_long_or_cut_off_ends_the_conversation() {
        for bytes in [vec![0xff; 8], vec![0, 0, 0, 9, 11]] {
            let mut inside = Side(io::Cursor::new(bytes), Vec::new());
            let mut outside = Side::says(&[]);
            assert!(converse(&mut inside, &mut outside).is_err());
            assert_eq!((inside.1, outside.1), (vec![], vec![]));
        }
    }
}
