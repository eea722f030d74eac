//! Files: taken in first, shown in a room once they are confirmed.

use serde_json::{Value, json};

use crate::documents::{Message, Upload};
use crate::id;
use crate::moment::Moment;
use crate::refusal::Refusal;
use crate::rules::messages::Draft;
use crate::state::State;

/// A file that nobody confirms is thrown away after a day.
const UNCONFIRMED_MS: i64 = 86_400_000;

/// What may be said with a file when it is confirmed.
const SAID: [&str; 9] = ["avatar", "emoji", "alias", "groupable", "msg", "tmid", "customFields", "t", "content"];

impl State {
    /// Takes a file. It is in no room before it is confirmed.
    pub(crate) fn take_file(
        &mut self,
        uid: &str,
        rid: &str,
        name: String,
        mime: String,
        bytes: Vec<u8>,
    ) -> Result<Upload, Refusal> {
        let now = self.now();
        let upload = Upload {
            id: id::id(),
            name,
            mime,
            size: bytes.len() as u64,
            rid: rid.to_owned(),
            user_id: uid.to_owned(),
            uploaded_at: now,
            expires_at: Some(Moment(now.0 + UNCONFIRMED_MS)),
            hidden: false,
        };
        self.put_file(&upload.id, bytes).map_err(|error| Refusal::plain(error.to_string()))?;
        self.put_upload(upload.clone());
        Ok(upload)
    }

    /// Shows a file in a room. Doing it twice makes two messages; what is given back is always the first one.
    pub(crate) fn confirm_file(
        &mut self,
        uid: &str,
        rid: &str,
        file: &str,
        said: &Value,
    ) -> Result<Option<Message>, Refusal> {
        let mut upload = self.uploads.get(file).cloned().ok_or_else(|| Refusal::coded("invalid-file", ""))?;
        let description = said.get("description").and_then(Value::as_str).map(str::to_owned);
        self.short_enough(description.as_deref().unwrap_or_default())
            .map_err(|_| Refusal::coded("error-message-size-exceeded", ""))?;
        let mut said = said.clone();
        if let Some(fields) = said.as_object_mut() {
            fields.remove("description");
            if let Some(unknown) = fields.keys().find(|key| !SAID.contains(&key.as_str())) {
                return Err(Refusal::plain(format!("Match error: Unknown key in field {unknown}")));
            }
        }
        self.unrestricted()?;
        let mut draft = Draft::read(&said);
        draft.rid = Some(rid.to_owned());
        draft.groupable = draft.groupable.or(Some(false));
        let text = said.get("customFields").and_then(Value::as_str);
        draft.custom_fields = text.and_then(|text| serde_json::from_str(text).ok());
        draft.attachments = Some(vec![attachment(&upload, description)]);
        draft.files = Some(vec![json!({
            "_id": upload.id, "name": upload.name, "type": upload.mime, "size": upload.size, "format": "",
        })]);
        self.send(uid, draft)?;
        upload.expires_at = None;
        self.put_upload(upload);
        let first = self
            .messages(rid)
            .find(|message| message.u.id == uid && message.file.as_ref().is_some_and(|of| of["_id"] == file));
        Ok(first.cloned())
    }
}

/// What a message shows of a file. Thumbnails, which a real server makes of pictures, are not made here.
fn attachment(upload: &Upload, description: Option<String>) -> Value {
    let url = path(upload);
    let mut attachment = json!({
        "title": upload.name, "type": "file", "title_link": url, "title_link_download": true, "fileId": upload.id,
    });
    if let Some(description) = description {
        attachment["description"] = json!(description);
    }
    let kind = upload.mime.split('/').next().unwrap_or_default();
    if ["image", "audio", "video"].contains(&kind) {
        attachment[format!("{kind}_url")] = json!(url);
        attachment[format!("{kind}_type")] = json!(upload.mime);
        attachment[format!("{kind}_size")] = json!(upload.size);
    } else {
        let extension = upload.name.rsplit_once('.').map_or("", |(_, extension)| extension);
        attachment["format"] = json!(extension.to_uppercase());
        attachment["size"] = json!(upload.size);
    }
    attachment
}

/// Where a file is downloaded.
pub(crate) fn path(upload: &Upload) -> String {
    format!("/file-upload/{}/{}", upload.id, encode_uri(&upload.name))
}

/// JavaScript's `encodeURI`.
fn encode_uri(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b";,/?:@&=+$-_.!~*'()#".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
