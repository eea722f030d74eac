//! What a call asks: the parameters behind its path, its JSON body, or a file.

use std::collections::BTreeMap;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Multipart, Query, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::moment::Moment;
use crate::refusal::Refusal;
use crate::rest::MAX_BODY_BYTES;
use crate::state::State;

/// A file that came with a call.
#[derive(Clone, Debug)]
pub(crate) struct TakenFile {
    pub(crate) field: String,
    pub(crate) name: String,
    pub(crate) mime: String,
    pub(crate) bytes: Vec<u8>,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) query: BTreeMap<String, String>,
    /// The body; the fields of a form that are no files.
    pub(crate) body: Value,
    pub(crate) file: Option<TakenFile>,
    /// The header `x-2fa-code`.
    pub(crate) second_factor: Option<String>,
}

/// The route of a call: what its limit is counted by. Ids in a path do not tell routes apart.
pub(crate) fn route(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

impl Ask {
    /// Reads a request.
    pub(crate) async fn read(request: Request) -> Result<Self, Refusal> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let query = query.map(|Query(pairs)| pairs.into_iter().collect()).unwrap_or_default();
        let mime = request.headers().get(CONTENT_TYPE).and_then(|mime| mime.to_str().ok()).unwrap_or_default();
        if mime.starts_with("multipart/form-data") {
            let (body, file) = form(request).await?;
            return Ok(Ask { query, body, file, second_factor: None });
        }
        let bytes = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| Refusal::TooLarge)?;
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(|error| Refusal::plain(error.to_string()))?,
        };
        Ok(Ask { query, body, file: None, second_factor: None })
    }

    /// The parameters behind the path, as JSON.
    pub(crate) fn query_value(&self) -> Value {
        json!(self.query)
    }

    /// A text of the body.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }

    /// A text of the body that must be there.
    pub(crate) fn needed(&self, key: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::params(format!("must have required property '{key}'"));
        self.text(key).ok_or_else(missing)
    }

    /// A choice of the body. The server takes texts and numbers for it too.
    pub(crate) fn choice(&self, key: &str) -> Option<bool> {
        match self.body.get(key)? {
            Value::Bool(choice) => Some(*choice),
            Value::String(text) => Some(text == "true"),
            Value::Number(number) => Some(number.as_i64() == Some(1)),
            _ => None,
        }
    }

    /// A list of texts of the body.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        let items = self.body.get(key).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// A parameter behind the path.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// A parameter behind the path that must be there.
    pub(crate) fn needed_parameter(&self, key: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::params(format!("must have required property '{key}'"));
        self.parameter(key).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    /// A moment behind the path.
    pub(crate) fn moment(&self, key: &str, code: &'static str) -> Result<Option<Moment>, Refusal> {
        let Some(text) = self.parameter(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        let reason = format!("The \"{key}\" query parameter must be a valid date");
        Moment::parse(text).map(Some).ok_or_else(|| Refusal::coded(code, reason))
    }

    /// `offset` and `count`, as the settings allow them; a count of 0 is everything.
    pub(crate) fn page(&self, state: &State, default: Option<usize>) -> (usize, usize) {
        let number = |key: &str| self.parameter(key).and_then(|text| text.parse::<usize>().ok());
        let setting = |id: &str| state.setting(id).as_u64().and_then(|number| usize::try_from(number).ok());
        let most = setting("API_Upper_Count_Limit").unwrap_or(100);
        let usual = default.or(setting("API_Default_Count")).unwrap_or(50);
        let count = match number("count") {
            None => usual,
            Some(0) if state.is_on("API_Allow_Infinite_Count") => 0,
            Some(0) => usual,
            Some(count) => count.min(most),
        };
        (number("offset").unwrap_or(0), count)
    }

    /// Refuses a body with other fields than these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let unknown = |fields: &Map<String, Value>| fields.keys().any(|key| !known.contains(&key.as_str()));
        if self.body.as_object().is_some_and(unknown) {
            return Err(Refusal::params("must NOT have additional properties"));
        }
        Ok(())
    }

    /// Refuses parameters behind the path other than these.
    pub(crate) fn only_parameters(&self, known: &[&str]) -> Result<(), Refusal> {
        if self.query.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(Refusal::params("must NOT have additional properties"));
        }
        Ok(())
    }
}

/// Cuts a page out of a list: the page, and what the answer says of it.
pub(crate) fn paged(list: Vec<Value>, key: &str, (offset, count): (usize, usize)) -> Value {
    let total = list.len();
    let most = if count == 0 { usize::MAX } else { count };
    let page: Vec<Value> = list.into_iter().skip(offset).take(most).collect();
    json!({"count": page.len(), "offset": offset, "total": total, key: page})
}

async fn form(request: Request) -> Result<(Value, Option<TakenFile>), Refusal> {
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| Refusal::plain(error.to_string()))?;
    let mut fields = Map::new();
    let mut file = None;
    while let Some(field) = form.next_field().await.map_err(|error| Refusal::plain(error.body_text()))? {
        let key = field.name().unwrap_or_default().to_owned();
        match field.file_name().map(str::to_owned) {
            Some(name) => {
                let mime = field.content_type().unwrap_or("application/octet-stream").to_owned();
                let bytes = field.bytes().await.map_err(|error| Refusal::plain(error.body_text()))?.to_vec();
                file = Some(TakenFile { field: key, name, mime, bytes });
            }
            None => {
                let text = field.text().await.map_err(|error| Refusal::plain(error.body_text()))?;
                fields.insert(key, Value::String(text));
            }
        }
    }
    Ok((Value::Object(fields), file))
}
