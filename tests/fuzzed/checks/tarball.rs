//! Tars that no sane program would write, entry by entry.

/// A tar being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tarball(pub(crate) Vec<u8>);

/// What a header says; the rest of it is zeros and the checksum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) flag: u8,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) size: u64,
    pub(crate) device: (u8, u8),
}

impl<'a> Header<'a> {
    pub(crate) fn new(flag: u8, name: &'a [u8]) -> Self {
        Self { flag, name, link: b"", size: 0, device: (0, 0) }
    }

    /// The block; names that do not fit are cut.
    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        fill(&mut block[..100], self.name);
        fill(&mut block[100..108], if self.flag == b'5' { b"0000755" } else { b"0000644" });
        fill(&mut block[108..116], b"0000000");
        fill(&mut block[116..124], b"0000000");
        fill(&mut block[124..136], format!("{:011o}", self.size).as_bytes());
        fill(&mut block[136..148], b"00000000001");
        block[156] = self.flag;
        fill(&mut block[157..257], self.link);
        block[257..265].copy_from_slice(b"ustar  \0");
        fill(&mut block[329..337], format!("{:07o}", self.device.0).as_bytes());
        fill(&mut block[337..345], format!("{:07o}", self.device.1).as_bytes());
        sum(&mut block);
        block
    }
}

fn fill(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Writes a header's checksum.
pub(crate) fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tarball {
    /// Adds a header, and content padded to whole blocks.
    pub(crate) fn add(mut self, header: Header<'_>, content: &[u8]) -> Self {
        self.0.extend_from_slice(&header.block());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds an entry whose size is that of its content.
    pub(crate) fn entry(self, flag: u8, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let header = Header { size: content.len() as u64, ..Header::new(flag, name.as_ref()) };
        self.add(header, content)
    }

    pub(crate) fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(b'5', name, "")
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', name, content)
    }

    /// Adds a hard or symbolic link.
    pub(crate) fn to(self, flag: u8, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let header = Header { link: target.as_ref(), ..Header::new(flag, name.as_ref()) };
        self.add(header, b"")
    }

    pub(crate) fn hard(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.to(b'1', name, target)
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.to(b'2', name, target)
    }

    /// Adds PAX records: `x` for the next entry, `g` for all of them.
    pub(crate) fn pax(self, flag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let length = (bare..).find(|n| bare + n.to_string().len() == *n).unwrap_or(bare);
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(flag, "pax", data)
    }

    /// Ends the archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
