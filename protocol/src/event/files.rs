//! Which files a message names: the list `files` of its body.
//!
//! Being in the body, a reference goes when the body is erased, and with the last one the file. No rule reads it: a list that
//! cannot be read names no files, and the message is as good as any other.

use std::collections::BTreeSet;

use crate::codec::{Map, Value};
use crate::event::{Body, Event, kind};
use crate::id::FileId;
use crate::limits::{MAX_FILE_BYTES, MAX_FILES_PER_MESSAGE, MAX_MEDIA_TYPE_BYTES, MAX_NAME_BYTES, MAX_PIXELS};

/// The body's field.
const FIELD: &str = "files";

/// A file as a message names it. All but the id and, once the file is here, the size is a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// The file.
    pub file: FileId,
    /// How many bytes it has: 1 to [`MAX_FILE_BYTES`].
    pub size: u64,
    /// What it is called: 1 to [`MAX_NAME_BYTES`] bytes without control characters and slashes of either kind, and not `.` or `..`.
    pub name: String,
    /// Its media type, such as `image/png`: printable ASCII with a slash in it, up to [`MAX_MEDIA_TYPE_BYTES`].
    pub media_type: String,
    /// Width and height of a picture or film in pixels, each 1 to [`MAX_PIXELS`].
    pub dimensions: Option<(u32, u32)>,
}

/// Why a body's list of files cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// It is something else than a list.
    #[error("the files are no list")]
    NoList,
    /// It is too long.
    #[error("{0} files, more than the {MAX_FILES_PER_MESSAGE} that a message may name")]
    TooMany(usize),
    /// One of them is unsound.
    #[error("file {number}: its {field} {problem}")]
    Unsound {
        /// Which, counted from 1.
        number: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two of them are the same.
    #[error("the file {0} is named twice")]
    Twice(FileId),
}

type Problem = (&'static str, &'static str);

impl FileRef {
    /// The files that a body names.
    ///
    /// # Errors
    /// [`FilesError`]; then it names none.
    pub fn of_body(body: &Body) -> Result<Vec<FileRef>, FilesError> {
        let Some(value) = body.fields().get(FIELD) else { return Ok(Vec::new()) };
        let list = value.as_list().ok_or(FilesError::NoList)?;
        if list.len() > MAX_FILES_PER_MESSAGE {
            return Err(FilesError::TooMany(list.len()));
        }
        let mut files = Vec::with_capacity(list.len());
        for (at, value) in list.iter().enumerate() {
            files.push(FileRef::read(value).map_err(|problem| unsound(at, problem))?);
        }
        named_once(&files)?;
        Ok(files)
    }

    /// The body's fields with these files named in them; unchanged for none.
    ///
    /// # Errors
    /// [`FilesError`], for what could not be read back.
    pub fn into_fields(files: &[FileRef], fields: Map) -> Result<Map, FilesError> {
        if files.len() > MAX_FILES_PER_MESSAGE {
            return Err(FilesError::TooMany(files.len()));
        }
        for (at, file) in files.iter().enumerate() {
            file.check().map_err(|problem| unsound(at, problem))?;
        }
        named_once(files)?;
        if files.is_empty() {
            return Ok(fields);
        }
        Ok(fields.with(FIELD, Value::List(files.iter().map(FileRef::to_value).collect())))
    }

    fn to_value(&self) -> Value {
        let map = Map::new()
            .with("cid", self.file)
            .with("size", self.size)
            .with("name", self.name.as_str())
            .with("type", self.media_type.as_str());
        Value::Map(match self.dimensions {
            Some((width, height)) => map.with("width", u64::from(width)).with("height", u64::from(height)),
            None => map,
        })
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let map = value.as_map().ok_or(("entry", "is no map"))?;
        let text = |key: &'static str| match map.get(key) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => Err((key, "is no text")),
        };
        let pixels = |key: &'static str| match map.get(key) {
            None => Ok(None),
            Some(value) => {
                let pixels = value.as_u64().and_then(|pixels| u32::try_from(pixels).ok());
                pixels.map(Some).ok_or((key, "is no number of pixels"))
            }
        };
        let dimensions = match (pixels("width")?, pixels("height")?) {
            (Some(width), Some(height)) => Some((width, height)),
            (None, None) => None,
            _ => return Err(("width", "and height do not stand together")),
        };
        let file = FileRef {
            file: map
                .get("cid")
                .and_then(Value::as_link)
                .and_then(|cid| FileId::try_from(cid).ok())
                .ok_or(("cid", "is no link to a file"))?,
            size: map.get("size").and_then(Value::as_u64).ok_or(("size", "is no number"))?,
            name: text("name")?,
            media_type: text("type")?,
            dimensions,
        };
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), Problem> {
        let unprintable = |c: char| c.is_control() || matches!(c, '/' | '\\');
        if !(1..=MAX_FILE_BYTES).contains(&self.size) {
            return Err(("size", "is 0, or more than a file may have"));
        }
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) {
            return Err(("name", "has not 1 to 255 bytes"));
        }
        if self.name.contains(unprintable) || matches!(self.name.as_str(), "." | "..") {
            return Err(("name", "is a path, or has control characters"));
        }
        let printable = self.media_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || !self.media_type.contains('/') || self.media_type.len() > MAX_MEDIA_TYPE_BYTES {
            return Err(("type", "is no media type such as image/png"));
        }
        let sound = |pixels: u32| (1..=MAX_PIXELS).contains(&pixels);
        if self.dimensions.is_some_and(|(width, height)| !sound(width) || !sound(height)) {
            return Err(("width", "or height is 0, or more than a picture may have"));
        }
        Ok(())
    }
}

impl Event {
    /// The files that the event names: none unless it is a message, or a profile with a picture, whose body is here.
    ///
    /// # Errors
    /// [`FilesError`]; then it names none.
    pub fn files(&self) -> Result<Vec<FileRef>, FilesError> {
        match self.body().filter(|_| matches!(self.header().kind.as_str(), kind::MESSAGE | kind::PROFILE)) {
            Some(body) => FileRef::of_body(&body),
            None => Ok(Vec::new()),
        }
    }
}

fn unsound(at: usize, (field, problem): Problem) -> FilesError {
    FilesError::Unsound { number: at + 1, field, problem }
}

/// Of two entries for one file only one could be believed.
fn named_once(files: &[FileRef]) -> Result<(), FilesError> {
    let mut seen = BTreeSet::new();
    match files.iter().find(|file| !seen.insert(file.file)) {
        Some(file) => Err(FilesError::Twice(file.file)),
        None => Ok(()),
    }
}
