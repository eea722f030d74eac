//! Values in JSON: what JSON lacks stands in an object with one key that begins with a dollar sign.

use std::collections::BTreeMap;

use cid::Cid;
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::MAX_NUMBER;
use serde_json::{Value as Json, json};

/// The text of the file: keys in order whatever features serde_json was built with.
pub(crate) fn written(json: &Json) -> String {
    fn in_order(json: &Json) -> Json {
        match json {
            Json::Array(list) => list.iter().map(in_order).collect(),
            Json::Object(map) => {
                let entries: BTreeMap<&String, Json> = map.iter().map(|(key, value)| (key, in_order(value))).collect();
                Json::Object(entries.into_iter().map(|(key, value)| (key.clone(), value)).collect())
            }
            other => other.clone(),
        }
    }
    serde_json::to_string_pretty(&in_order(json)).unwrap() + "\n"
}

pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) if number.unsigned_abs() <= u128::from(MAX_NUMBER) => json!(i64::try_from(*number).unwrap()),
        Value::Int(number) => json!({ "$int": number.to_string() }),
        Value::Bytes(bytes) => json!({ "$bytes": hex::encode(bytes) }),
        Value::Text(text) => json!(text),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(map) => map_to_json(map),
        Value::Link(cid) => json!({ "$link": cid.to_string() }),
    }
}

pub(crate) fn map_to_json(map: &Map) -> Json {
    Json::Object(map.iter().map(|(key, value)| (key.to_owned(), to_json(value))).collect())
}

pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => Value::Int(number.as_i64().unwrap().into()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(from_json).collect()),
        Json::Object(map) => match map.iter().next() {
            Some((key, number)) if key == "$int" => Value::Int(text(number).parse().unwrap()),
            Some((key, bytes)) if key == "$bytes" => Value::Bytes(unhex(bytes)),
            Some((key, link)) if key == "$link" => Value::Link(Cid::try_from(text(link)).unwrap()),
            _ => Value::Map(map_from_json(json)),
        },
    }
}

pub(crate) fn map_from_json(json: &Json) -> Map {
    let entries = json.as_object().unwrap().iter();
    entries.fold(Map::new(), |map, (key, value)| map.with(key, from_json(value)))
}

pub(crate) fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_else(|| panic!("a text, not {json}"))
}

pub(crate) fn unhex(json: &Json) -> Vec<u8> {
    hex::decode(text(json)).unwrap()
}

pub(crate) fn unhex_32(json: &Json) -> [u8; 32] {
    unhex(json).try_into().unwrap()
}

pub(crate) fn optional<T>(json: &Json, read: impl FnOnce(&Json) -> T) -> Option<T> {
    (!json.is_null()).then(|| read(json))
}

pub(crate) fn list<T>(json: &Json, read: impl FnMut(&Json) -> T) -> Vec<T> {
    json.as_array().unwrap_or_else(|| panic!("a list, not {json}")).iter().map(read).collect()
}

pub(crate) fn encoded(value: &Value) -> Vec<u8> {
    codec::encode(value).unwrap()
}

pub(crate) fn texts(ids: &[EventId]) -> Vec<String> {
    ids.iter().map(EventId::to_string).collect()
}
