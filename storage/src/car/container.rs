//! The container: a header, and blocks behind their ids.

use std::io::{self, BufReader, Read, Write};

use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::MAX_BODY_BYTES;

use super::CarError;

/// What stands before the hash in the CID of a room's block: version 1, dag-cbor, blake3, 32 bytes.
const CID_PREFIX: [u8; 4] = [0x01, 0x71, 0x1e, 0x20];
/// How a CID of version 0 begins: no version and no codec, sha2-256 and 32 bytes.
const CID_V0_PREFIX: [u8; 2] = [0x12, 0x20];
/// The codec and the hash that a CID of version 0 stands for: dag-pb and sha2-256.
const CID_V0_KIND: (u64, u64) = (0x70, 0x12);

/// The most roots in a header that is written here: 41 bytes each, so that it stays below what a reader takes for one.
pub const MAX_ROOTS: usize = 1024;
/// The longest header that is read. It would hold about 1,600 roots.
const MAX_HEADER: usize = 64 * 1024;
/// The longest section that is read: the largest block, which is a body, and an id. An id of this length may be of
/// another kind, so that it can be told what is wrong with it.
const MAX_SECTION: usize = MAX_BODY_BYTES + 128;
/// The longest varint, by the [specification](https://github.com/multiformats/unsigned-varint).
const MAX_VARINT: u32 = 9;

/// The version of the form.
const VERSION: u64 = 1;

/// Writes a CAR, block by block.
pub struct CarWriter<'a> {
    out: &'a mut dyn Write,
}

impl<'a> CarWriter<'a> {
    /// Writes the header. Of more than [`MAX_ROOTS`] roots it names the first.
    ///
    /// # Errors
    /// [`CarError::Io`].
    pub fn begin(out: &'a mut dyn Write, roots: &[EventId]) -> Result<Self, CarError> {
        let roots = roots.iter().take(MAX_ROOTS).map(|root| Value::from(*root)).collect::<Vec<_>>();
        let header = Map::new().with("roots", roots).with("version", VERSION);
        // What is built here is shallow and has small numbers.
        let header = codec::encode(&Value::Map(header)).map_err(io::Error::other)?;
        write_varint(out, header.len() as u64)?;
        out.write_all(&header)?;
        Ok(CarWriter { out })
    }

    /// Writes a block behind its id.
    ///
    /// # Errors
    /// [`CarError::Io`].
    pub fn block(&mut self, block: &[u8]) -> Result<(), CarError> {
        let id = EventId::of_block(block);
        write_varint(self.out, (CID_PREFIX.len() + id.hash().len() + block.len()) as u64)?;
        self.out.write_all(&CID_PREFIX)?;
        self.out.write_all(id.hash())?;
        self.out.write_all(block)?;
        Ok(())
    }
}

/// A block of a CAR, whose hash was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where its section begins in the file.
    pub at: u64,
    /// The hash in its id, BLAKE3-256. The id is the CID of version 1 of this hash, with codec dag-cbor.
    pub hash: [u8; 32],
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Reads a CAR of a room, block by block. After an error there is no other block.
#[derive(Debug)]
pub struct CarReader<R> {
    input: BufReader<R>,
    /// How many bytes were read.
    at: u64,
    roots: Vec<EventId>,
    ended: bool,
}

impl<R: Read> CarReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`CarError::Io`], [`CarError::Truncated`], [`CarError::Version`], [`CarError::Malformed`].
    pub fn new(input: R) -> Result<Self, CarError> {
        let mut reader = CarReader { input: BufReader::new(input), at: 0, roots: Vec::new(), ended: false };
        let len = reader.varint()?.ok_or(CarError::Truncated(0))?;
        let len = bounded(len, MAX_HEADER).ok_or(malformed(0, "is no header of a CAR, or a very long one"))?;
        let header = reader.read_bytes(len)?;
        let header = codec::decode(&header).map_err(|_| malformed(0, "is no header of a CAR"))?;
        let header = header.as_map().ok_or(malformed(0, "is no header of a CAR"))?;
        match header.get("version").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(other) => return Err(CarError::Version(other)),
            None => return Err(malformed(0, "is a header without a version")),
        }
        let roots = header.get("roots").and_then(Value::as_list).ok_or(malformed(0, "is a header without roots"))?;
        let root = |root: &Value| EventId::try_from(root.as_link()?).ok();
        reader.roots = roots
            .iter()
            .map(root)
            .collect::<Option<_>>()
            .ok_or(malformed(0, "is a header with a root that is no id of an event"))?;
        Ok(reader)
    }

    /// The roots that the header names. What they are is for whoever wrote the file to say; [`super::export`] names the
    /// create event first, and then the tips.
    pub fn roots(&self) -> &[EventId] {
        &self.roots
    }

    fn section(&mut self) -> Result<Option<Block>, CarError> {
        let at = self.at;
        let Some(len) = self.varint()? else { return Ok(None) };
        let len = bounded(len, MAX_SECTION).ok_or(malformed(at, "is longer than any block of a room"))?;
        let section = self.read_bytes(len)?;
        let Some((hash, bytes)) = section.strip_prefix(&CID_PREFIX).and_then(<[u8]>::split_first_chunk::<32>) else {
            let (codec, hash) = foreign(&section, at).ok_or(malformed(at, "has no id"))?;
            return Err(CarError::Foreign { at, codec, hash });
        };
        if EventId::of_block(bytes).hash() != hash {
            return Err(CarError::WrongHash { at });
        }
        Ok(Some(Block { at, hash: *hash, bytes: bytes.to_vec() }))
    }

    fn varint(&mut self) -> Result<Option<u64>, CarError> {
        let read = read_varint(&mut self.input, self.at)?;
        self.at += read.map_or(0, |(_, len)| len);
        Ok(read.map(|(number, _)| number))
    }

    fn read_bytes(&mut self, len: usize) -> Result<Vec<u8>, CarError> {
        let mut bytes = vec![0; len];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(CarError::Truncated(self.at)),
            Err(error) => return Err(error.into()),
        }
        self.at += len as u64;
        Ok(bytes)
    }
}

impl<R: Read> Iterator for CarReader<R> {
    type Item = Result<Block, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let block = self.section().transpose();
        self.ended = !matches!(block, Some(Ok(_)));
        block
    }
}

pub(super) fn malformed(at: u64, problem: &'static str) -> CarError {
    CarError::Malformed { at, problem }
}

fn bounded(len: u64, most: usize) -> Option<usize> {
    usize::try_from(len).ok().filter(|len| *len <= most)
}

/// The codec and the hash of an id that is not a room's, as far as it can be read.
fn foreign(mut id: &[u8], at: u64) -> Option<(u64, u64)> {
    if id.starts_with(&CID_V0_PREFIX) {
        return Some(CID_V0_KIND);
    }
    let mut number = || read_varint(&mut id, at).ok().flatten().map(|(number, _)| number);
    number().filter(|version| *version == 1)?;
    Some((number()?, number()?))
}

fn write_varint(out: &mut dyn Write, mut number: u64) -> io::Result<()> {
    while number >= 0x80 {
        out.write_all(&[number as u8 | 0x80])?;
        number >>= 7;
    }
    out.write_all(&[number as u8])
}

/// A varint that begins at byte `at`, and how many bytes it took; none at the end of the input.
fn read_varint(input: &mut impl Read, at: u64) -> Result<Option<(u64, u64)>, CarError> {
    let mut number = 0;
    for place in 0..MAX_VARINT {
        let mut byte = [0];
        match input.read_exact(&mut byte) {
            Ok(()) => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Err(_) if place == 0 => return Ok(None),
            Err(_) => return Err(CarError::Truncated(at + u64::from(place))),
        }
        let [byte] = byte;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if byte == 0 && place > 0 {
                return Err(malformed(at, "is a length that is not in its shortest form"));
            }
            return Ok(Some((number, u64::from(place) + 1)));
        }
    }
    Err(malformed(at, "is a length of more than nine bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_from_its_varint() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), (1 << 63) - 1] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, number).expect("memory takes it");
            let len = bytes.len() as u64;
            assert_eq!(read_varint(&mut bytes.as_slice(), 0).expect("sound"), Some((number, len)), "{number}");
        }
    }

    #[test]
    fn a_varint_has_one_form_and_at_most_nine_bytes() {
        let read = |bytes: &[u8]| read_varint(&mut &bytes[..], 7);
        assert_eq!(read(&[]).expect("the end"), None);
        assert!(matches!(read(&[0x80]), Err(CarError::Truncated(8))));
        for wrong in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0x80; 9], &[0xff; 10]] {
            assert!(matches!(read(wrong), Err(CarError::Malformed { at: 7, .. })), "{wrong:?}");
        }
    }

    #[test]
    fn the_id_of_a_block_is_the_cid_that_the_protocol_gives_it() {
        let id = EventId::of_block(b"block");
        let mut out = Vec::new();
        CarWriter { out: &mut out }.block(b"block").expect("memory takes it");
        assert_eq!(out[0], 41);
        assert_eq!(out[1..37], id.to_cid().to_bytes());
        assert_eq!(&out[37..], b"block");
    }

    #[test]
    fn a_header_with_the_most_roots_is_read_again() {
        let roots: Vec<EventId> = (0..MAX_ROOTS as u64).map(|at| EventId::of_block(&at.to_be_bytes())).collect();
        let mut out = Vec::new();
        CarWriter::begin(&mut out, &roots).expect("memory takes it");
        let reader = CarReader::new(out.as_slice()).expect("sound");
        assert_eq!(reader.roots(), roots);
        assert_eq!(reader.count(), 0);
    }
}
