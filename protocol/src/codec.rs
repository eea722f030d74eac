//! Deterministic DAG-CBOR: one encoding per value, and a decoder that refuses every other.
//!
//! The archived `serde_cbor` does the parsing and writing and is named nowhere else. On top of it stands the profile of the
//! [DAG-CBOR specification](https://ipld.io/specs/codecs/dag-cbor/spec/), tightened: no floats at all, no tag but 42, text
//! keys only, keys in length-first order, shortest lengths, nothing after the value. Strictness is enforced in one move:
//! what was decoded is encoded again and must give the same bytes.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;

use cid::Cid;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_cbor::tags::{Tagged, current_cbor_tag};

/// The deepest nesting of lists and maps that a value may have. Far above what any event needs, far below what a stack can
/// bear.
pub const MAX_DEPTH: usize = 32;

/// The CBOR tag that marks a link, from the DAG-CBOR specification.
const LINK_TAG: u64 = 42;

/// The most that is reserved before elements are seen: a length in the input is a claim, not a fact.
const RESERVE: usize = 64;

/// The most values in one message, nested ones included. A value takes about a hundred bytes in memory, so that a
/// response of 4 MiB must not be all one-byte numbers. The largest have-vector has half of it; a header or a body, whose
/// bytes are fewer, can never reach it.
pub const MAX_VALUES: usize = 400_000;

/// Why bytes are not a value, or a value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not CBOR of the profile: truncated, a float, an unknown tag, a key that is no text, too deep.
    #[error("not DAG-CBOR: {0}")]
    Malformed(String),
    /// The bytes are another encoding of a value whose one encoding is different.
    #[error("not the canonical encoding of the value")]
    NotCanonical,
    /// The value holds an integer outside -2^64 to 2^64 - 1, or nests deeper than [`MAX_DEPTH`].
    #[error("the value has no encoding: {0}")]
    Unencodable(String),
}

/// A value of the IPLD data model, without floats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer from -2^64 to 2^64 - 1; any other cannot be encoded.
    Int(i128),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A UTF-8 string.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map with text keys.
    Map(Map),
    /// A link to another block.
    Link(Cid),
}

/// A map with unique text keys, always in DAG-CBOR's order: shorter keys first, then bytewise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(Vec<(String, Value)>);

/// DAG-CBOR's order of keys.
fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl Map {
    /// An empty map.
    pub fn new() -> Self {
        Map(Vec::new())
    }

    /// Sets `key` to `value` and returns the map, for building in one expression.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Sets `key` to `value`; the last one set counts.
    pub fn insert(&mut self, key: &str, value: impl Into<Value>) {
        match self.position(key) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (key.to_owned(), value.into())),
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).ok().map(|at| &self.0[at].1)
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.position(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The entries in the map's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| key_order(held, key))
    }
}

impl Value {
    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if these are some.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer, if it is one between 0 and 2^64 - 1.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The link, if this is one.
    pub fn as_link(&self) -> Option<&Cid> {
        match self {
            Value::Link(cid) => Some(cid),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if this is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    fn deeper_than(&self, limit: usize) -> bool {
        match self {
            Value::List(list) => limit == 0 || list.iter().any(|value| value.deeper_than(limit - 1)),
            Value::Map(map) => limit == 0 || map.iter().any(|(_, value)| value.deeper_than(limit - 1)),
            _ => false,
        }
    }
}

/// The one encoding of `value`.
///
/// # Errors
/// [`CodecError::Unencodable`] for an integer that CBOR cannot hold and for nesting beyond [`MAX_DEPTH`].
pub fn encode(value: &Value) -> Result<Vec<u8>, CodecError> {
    if value.deeper_than(MAX_DEPTH) {
        return Err(CodecError::Unencodable(format!("nested deeper than {MAX_DEPTH}")));
    }
    serde_cbor::to_vec(value).map_err(|error| CodecError::Unencodable(error.to_string()))
}

/// The value whose one encoding `bytes` is. The caller bounds the length of `bytes` first.
///
/// # Errors
/// [`CodecError::Malformed`], also for more than [`MAX_VALUES`], or [`CodecError::NotCanonical`]; always the fault of whoever
/// made the bytes.
pub fn decode(bytes: &[u8]) -> Result<Value, CodecError> {
    read(bytes, MAX_VALUES)
}

/// As [`decode`], for what this node itself wrote earlier and grew meanwhile: without the bound on the number of values, which
/// is there to keep a peer's message from costing more memory than it looks like.
///
/// # Errors
/// As [`decode`].
pub fn decode_own(bytes: &[u8]) -> Result<Value, CodecError> {
    read(bytes, usize::MAX)
}

fn read(bytes: &[u8], most: usize) -> Result<Value, CodecError> {
    let budget = Cell::new(most);
    let malformed = |error: serde_cbor::Error| CodecError::Malformed(error.to_string());
    let mut deserializer = serde_cbor::Deserializer::from_slice(bytes);
    let value = ValueVisitor(&budget).deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    match encode(&value) {
        Ok(again) if again == bytes => Ok(value),
        Ok(_) => Err(CodecError::NotCanonical),
        Err(CodecError::Unencodable(why)) => Err(CodecError::Malformed(why)),
        Err(other) => Err(other),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Int(number) => match u64::try_from(*number) {
                Ok(small) => serializer.serialize_u64(small),
                Err(_) if *number < -(1_i128 << 64) || *number >= 1_i128 << 64 => {
                    Err(ser::Error::custom("an integer outside -2^64 to 2^64 - 1"))
                }
                Err(_) => serializer.serialize_i128(*number),
            },
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    seq.serialize_element(value)?;
                }
                seq.end()
            }
            Value::Map(map) => {
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map.iter() {
                    entries.serialize_entry(key, value)?;
                }
                entries.end()
            }
            Value::Link(cid) => {
                let mut bytes = vec![0];
                bytes.extend_from_slice(&cid.to_bytes());
                Tagged::new(Some(LINK_TAG), serde_bytes::ByteBuf::from(bytes)).serialize(serializer)
            }
        }
    }
}

/// Reads one value, and counts it.
#[derive(Clone, Copy)]
struct ValueVisitor<'b>(&'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left =
            self.0.get().checked_sub(1).ok_or_else(|| de::Error::custom("more values than a message may have"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a DAG-CBOR value without floats")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Int(i128::from(number)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(i128::from(number)))
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(RESERVE));
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::with_capacity(access.size_hint().unwrap_or(0).min(RESERVE));
        while let Some(key) = access.next_key_seed(self)? {
            // Accepting any type here and checking it after keeps integer and byte keys from being coerced into text.
            let Value::Text(key) = key else {
                return Err(de::Error::custom("a map key that is no text"));
            };
            if entries.last().is_some_and(|(last, _)| key_order(last, &key) != Ordering::Less) {
                return Err(de::Error::custom("map keys out of order or twice"));
            }
            entries.push((key, access.next_value_seed(self)?));
        }
        Ok(Value::Map(Map(entries)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        if current_cbor_tag() != Some(LINK_TAG) {
            return Err(de::Error::custom("a tag that marks no link"));
        }
        let Value::Bytes(bytes) = self.deserialize(inner)? else {
            return Err(de::Error::custom("a link that is no byte string"));
        };
        match bytes.split_first() {
            Some((0, rest)) => {
                let cid = Cid::try_from(rest).map_err(|error| de::Error::custom(format!("a link: {error}")))?;
                Ok(Value::Link(cid))
            }
            _ => Err(de::Error::custom("a link without its leading zero")),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$name:ident| $into:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($name: $from) -> Self {
                $into
            }
        })*
    };
}

value_from! {
    bool => |truth| Value::Bool(truth);
    u64 => |number| Value::Int(i128::from(number));
    &str => |text| Value::Text(text.to_owned());
    String => |text| Value::Text(text);
    Vec<u8> => |bytes| Value::Bytes(bytes);
    &[u8] => |bytes| Value::Bytes(bytes.to_vec());
    Vec<Value> => |list| Value::List(list);
    Map => |map| Value::Map(map);
    Cid => |cid| Value::Link(cid);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
