//! The body block: what people wrote. It can be erased; nothing that rules read is in it.

use crate::codec::{self, CodecError, Map, Value};
use crate::event::EventError;
use crate::limits::SALT_BYTES;

/// The key of the salt in the body's map.
const SALT: &str = "salt";

/// A body: a salt and the fields that people filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    salt: [u8; SALT_BYTES],
    fields: Map,
}

impl Body {
    /// A body with these fields. The salt must be random, so that the hash left behind by an erased body cannot be guessed.
    pub fn new(salt: [u8; SALT_BYTES], mut fields: Map) -> Self {
        fields.remove(SALT);
        Body { salt, fields }
    }

    /// Reads a body block.
    ///
    /// # Errors
    /// [`EventError::Codec`] or [`EventError::BodyShape`].
    pub fn decode(block: &[u8]) -> Result<Self, EventError> {
        let Value::Map(mut fields) = codec::decode(block)? else {
            return Err(EventError::BodyShape);
        };
        let salt =
            fields.remove(SALT).and_then(|salt| salt.as_bytes()?.try_into().ok()).ok_or(EventError::BodyShape)?;
        Ok(Body { salt, fields })
    }

    /// The block of this body.
    ///
    /// # Errors
    /// [`CodecError::Unencodable`] for fields that have no encoding.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(&Value::Map(self.fields.clone().with(SALT, self.salt.as_slice())))
    }

    /// The fields without the salt.
    pub fn fields(&self) -> &Map {
        &self.fields
    }

    /// The text field called `name`, such as `text`, `name`, `topic`, `emoji` or `reason`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_text()
    }
}
