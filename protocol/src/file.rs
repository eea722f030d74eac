//! Files: named by the hash of their bytes, and passed on in ranges that prove themselves.
//!
//! BLAKE3 hashes a file as a tree over chunks of 1,024 bytes, whose root is the file's id. A *slice* is a range of the file
//! together with the hashes beside the way from the root to it, so that whoever knows the id can check the range without the
//! rest. Its form is Bao's (<https://github.com/oconnor663/bao/blob/master/docs/spec.md>): the file's size in eight bytes,
//! little-endian; then the tree in pre-order, inner nodes as the hashes of their two children and leaves as their bytes, without
//! the subtrees that the range does not touch.
//!
//! The size at the front is proven only by a slice that reaches the file's end. Whoever fetches a file begins there.

use std::io::Read;

use bao::decode::SliceDecoder;

use crate::id::FileId;
use crate::limits::{FILE_CHUNK_BYTES, FILE_RANGE_BYTES, MAX_FILE_BYTES, MAX_SLICE_BYTES};

/// A range of a file that one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRange {
    from: u64,
    len: u64,
}

/// Why bytes are not the slice that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// It is of a file of another size. Either the sender lies, or whoever said how large the file is.
    #[error("a slice of a file of {0} bytes")]
    OtherSize(u64),
    /// It is cut, too long, or not of the file. The fault of whoever sent it.
    #[error("the slice does not verify")]
    Unverified,
}

impl FileRange {
    /// A range of 1 to [`FILE_RANGE_BYTES`] bytes that begins at a multiple of [`FILE_CHUNK_BYTES`] and ends within
    /// [`MAX_FILE_BYTES`]; none for any other.
    pub fn new(from: u64, len: u64) -> Option<Self> {
        let sound = from.is_multiple_of(FILE_CHUNK_BYTES)
            && (1..=FILE_RANGE_BYTES).contains(&len)
            && from.checked_add(len).is_some_and(|end| end <= MAX_FILE_BYTES);
        sound.then_some(FileRange { from, len })
    }

    /// How many ranges a file of this size is fetched in.
    pub const fn count(size: u64) -> u64 {
        size.div_ceil(FILE_RANGE_BYTES)
    }

    /// The range of this number, counted from 0, of a file of this size; none beyond its end. All but the last have
    /// [`FILE_RANGE_BYTES`].
    pub fn numbered(number: u64, size: u64) -> Option<Self> {
        let from = number.checked_mul(FILE_RANGE_BYTES)?;
        FileRange::new(from, size.checked_sub(from)?.min(FILE_RANGE_BYTES))
    }

    /// The last chunk of a file of this size; none for sizes that no file has. It is what a range beyond the end is answered with.
    pub fn last_chunk(size: u64) -> Option<Self> {
        let from = size.checked_sub(1)? / FILE_CHUNK_BYTES * FILE_CHUNK_BYTES;
        FileRange::new(from, size - from)
    }

    /// Where it begins.
    pub const fn from(&self) -> u64 {
        self.from
    }

    /// How many bytes it has.
    pub const fn size(&self) -> u64 {
        self.len
    }

    /// The place just behind it.
    pub const fn end(&self) -> u64 {
        self.from + self.len
    }
}

/// The bytes of a range, taken out of a slice and proven to be those of the file `file`, which is said to have `size` bytes. That
/// it has is proven if the range reaches its end.
///
/// # Errors
/// [`SliceError`].
pub fn open_slice(file: &FileId, size: u64, range: FileRange, slice: &[u8]) -> Result<Vec<u8>, SliceError> {
    // The decoder takes the size at its word, so that it must not be given one that nobody expects.
    let claimed = slice.first_chunk::<8>().map(|size| u64::from_le_bytes(*size)).ok_or(SliceError::Unverified)?;
    if claimed != size {
        return Err(SliceError::OtherSize(claimed));
    }
    if slice.len() > MAX_SLICE_BYTES || range.end() > size {
        return Err(SliceError::Unverified);
    }
    let hash = blake3::Hash::from_bytes(*file.hash());
    let mut decoder = SliceDecoder::new(slice, &hash, range.from, range.len);
    let mut bytes = Vec::with_capacity(range.len as usize);
    decoder.read_to_end(&mut bytes).map_err(|_| SliceError::Unverified)?;
    if bytes.len() as u64 != range.len || !decoder.into_inner().is_empty() {
        return Err(SliceError::Unverified);
    }
    Ok(bytes)
}
