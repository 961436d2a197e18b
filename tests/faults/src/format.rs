//! The journal's records and their encoding. The suite that reads them includes this file by its path: the library itself must
//! never be linked to anything.
//!
//! A record is its length after this field (u32), a tag (u8) and its fields in order: integers as u64, bytes as their length
//! (u32) and themselves; all little-endian. A record that the end of the journal cuts off is not there.

/// One operation that was done. Files and folders are named by inode, which is used again once one is gone: a creation
/// under a known inode is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A process began to record; the folder's own inode.
    Session {
        /// Of the folder.
        folder: u64,
    },
    /// A file was made.
    Create {
        /// Its path from the folder.
        path: Vec<u8>,
        /// It.
        file: u64,
    },
    /// Bytes were written.
    Write {
        /// Where to.
        file: u64,
        /// From its start.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A file got this length.
    Truncate {
        /// Which.
        file: u64,
        /// In bytes.
        len: u64,
    },
    /// An fsync of a file or folder began.
    SyncBegin {
        /// Which.
        file: u64,
        /// Names this fsync.
        token: u64,
    },
    /// It has returned, well.
    SyncEnd {
        /// Which.
        token: u64,
    },
    /// A folder was made.
    Mkdir {
        /// Its path.
        path: Vec<u8>,
        /// It.
        folder: u64,
    },
    /// A name was moved.
    Rename {
        /// From here.
        from: Vec<u8>,
        /// To here, over what was there.
        to: Vec<u8>,
    },
    /// A name of a file or of an empty folder went.
    Unlink {
        /// Which.
        path: Vec<u8>,
    },
    /// What the process itself said at this moment.
    Mark {
        /// Its words.
        data: Vec<u8>,
    },
    /// Something that this format has no words for.
    Unsupported {
        /// What.
        what: Vec<u8>,
    },
}

impl Record {
    /// The record as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder(vec![0; 4]);
        match self {
            Self::Session { folder } => out.tag(0).number(*folder),
            Self::Create { path, file } => out.tag(1).bytes(path).number(*file),
            Self::Write { file, offset, data } => out.tag(2).number(*file).number(*offset).bytes(data),
            Self::Truncate { file, len } => out.tag(3).number(*file).number(*len),
            Self::SyncBegin { file, token } => out.tag(4).number(*file).number(*token),
            Self::SyncEnd { token } => out.tag(5).number(*token),
            Self::Mkdir { path, folder } => out.tag(6).bytes(path).number(*folder),
            Self::Rename { from, to } => out.tag(7).bytes(from).bytes(to),
            Self::Unlink { path } => out.tag(8).bytes(path),
            Self::Mark { data } => out.tag(9).bytes(data),
            Self::Unsupported { what } => out.tag(10).bytes(what),
        };
        let mut raw = out.0;
        let len = u32_of(raw.len() - 4);
        raw[..4].copy_from_slice(&len.to_le_bytes());
        raw
    }

    /// Takes the first record off; none at the end, cut off records included.
    pub(crate) fn decode(raw: &mut &[u8]) -> Option<Self> {
        let mut outer = Decoder(raw);
        let body = outer.bytes()?;
        let mut fields = Decoder(body.get(1..)?);
        let record = match body[0] {
            0 => Self::Session {
                folder: fields.number()?,
            },
            1 => Self::Create {
                path: fields.bytes()?.to_vec(),
                file: fields.number()?,
            },
            2 => Self::Write {
                file: fields.number()?,
                offset: fields.number()?,
                data: fields.bytes()?.to_vec(),
            },
            3 => Self::Truncate {
                file: fields.number()?,
                len: fields.number()?,
            },
            4 => Self::SyncBegin {
                file: fields.number()?,
                token: fields.number()?,
            },
            5 => Self::SyncEnd {
                token: fields.number()?,
            },
            6 => Self::Mkdir {
                path: fields.bytes()?.to_vec(),
                folder: fields.number()?,
            },
            7 => Self::Rename {
                from: fields.bytes()?.to_vec(),
                to: fields.bytes()?.to_vec(),
            },
            8 => Self::Unlink {
                path: fields.bytes()?.to_vec(),
            },
            9 => Self::Mark {
                data: fields.bytes()?.to_vec(),
            },
            10 => Self::Unsupported {
                what: fields.bytes()?.to_vec(),
            },
            _ => return None,
        };
        *raw = outer.0;
        Some(record)
    }
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.push(tag);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(u32_of(bytes.len()).to_le_bytes());
        self.0.extend(bytes);
        self
    }
}

struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(len).ok()?)
    }
}
