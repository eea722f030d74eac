//! Rocket.Chat's REST interface, as somebody.
//!
//! ```text
//!  bridge ──► Client (one server, one account) ──► call ──► https ──► Rocket.Chat
//!                as_account: another account          └──► RestError: what became of it
//! ```
//!
//! One method for each call, each of them made once: what to do after an error is the caller's to decide, because only the
//! caller can find out whether the call was done ([`RestError::is_outcome_unknown`]). Redirects are not followed: they would
//! carry the token to another address.

mod chat;
mod error;
mod files;
mod hooks;
mod moment;
mod people;
mod rooms;
#[cfg(test)]
mod tests;
mod types;

use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::multipart::Form;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[allow(unused_imports, reason = "the whole interface")]
pub(crate) use self::chat::{Outgoing, Spoken};
pub(crate) use self::error::RestError;
#[allow(unused_imports, reason = "the whole interface")]
pub(crate) use self::files::{Download, UploadBody};
pub(crate) use self::hooks::Hook;
pub(crate) use self::moment::Moment;
#[allow(unused_imports, reason = "the whole interface")]
pub(crate) use self::people::{NewUser, ProfileChange};
#[allow(unused_imports, reason = "the whole interface")]
pub(crate) use self::rooms::{NewRoom, RoomRole, RoomSettings};
#[allow(unused_imports, reason = "the whole interface")]
pub(crate) use self::types::{
    Account, Attachment, Author, Changes, FileInfo, MemberRoles, Mention, Message, Page, PermissionRoles, Reaction,
    Release, Room, RoomKind, Subscription, SystemKind, User,
};

use crate::clock::{Clock, SystemClock};

/// The largest answer that is read. A page of a hundred of the longest messages stays far below.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a call may take. A busy Rocket.Chat answers in seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// How long to wait when a limit says nothing of its end: the length of Rocket.Chat's window.
const LIMIT_WINDOW_MS: u64 = 60_000;
/// The farthest end of a limit that is believed. A server whose clock is ahead must not silence the bridge for days.
const MAX_LIMIT_MS: u64 = 10 * 60_000;
/// The elements of a page. Rocket.Chat gives at most 100 unless its administrator allows more.
pub(crate) const PAGE: usize = 100;

/// The parameters behind a path.
type Query<'a> = [(&'a str, &'a str)];

/// The address of a Rocket.Chat server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no address of a Rocket.Chat server ({reason}); give one such as https://chat.example.org")]
pub(crate) struct AddressError {
    given: String,
    reason: String,
}

/// Reads the address of a server: http or https, without a name and a password in it. It ends with a slash.
///
/// # Errors
/// [`AddressError`].
pub(crate) fn server_address(given: &str) -> Result<Url, AddressError> {
    let refuse = |reason: &str| AddressError { given: given.to_owned(), reason: reason.to_owned() };
    let mut url = Url::parse(given.trim()).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it begins with neither https:// nor http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError { given: "the address".to_owned(), reason: "it carries a password".to_owned() });
    }
    if url.host_str().is_none() {
        return Err(refuse("it names no host"));
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// A server, and somebody as whom it is called. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    account: Option<Account>,
}

#[derive(Deserialize)]
struct Info {
    version: String,
}

#[derive(Deserialize)]
struct Setting {
    #[serde(default)]
    value: Value,
}

impl Client {
    /// A client of the server at this address, as nobody yet: it can only ask for the version and log in.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(crate) fn open(address: &str) -> Result<Self, AddressError> {
        let base = server_address(address)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rocketmesh/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AddressError { given: address.to_owned(), reason: error.to_string() })?;
        Ok(Client { http, base, account: None })
    }

    /// The same server, as somebody else.
    #[must_use]
    pub(crate) fn as_account(&self, account: &Account) -> Self {
        Client { http: self.http.clone(), base: self.base.clone(), account: Some(account.clone()) }
    }

    /// As whom it is called.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The server's address, with a slash at its end.
    pub(crate) fn address(&self) -> &Url {
        &self.base
    }

    /// The server's release. Needs no account.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn info(&self) -> Result<Release, RestError> {
        const ACTION: &str = "info";
        let request = self.request(Method::GET, ACTION, "api/info")?;
        let info: Info = self.send(ACTION, request).await?;
        let unread = || RestError::Malformed { action: ACTION, reason: "the version is no version".to_owned() };
        Release::parse(&info.version).ok_or_else(unread)
    }

    /// The address under which people open the server, with which links to messages begin; none if none is set.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn site_url(&self) -> Result<Option<String>, RestError> {
        let value = self.setting("Site_Url").await?;
        let url = value.as_str().and_then(|url| server_address(url).ok());
        Ok(url.map(|url| url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The value of a setting of the workspace.
    ///
    /// # Errors
    /// [`RestError`]; also for a setting that the release does not have.
    pub(crate) async fn setting(&self, id: &'static str) -> Result<Value, RestError> {
        const ACTION: &str = "settings";
        let request = self.request(Method::GET, ACTION, &format!("api/v1/settings/{id}"))?;
        let setting: Setting = self.send(ACTION, request).await?;
        Ok(setting.value)
    }

    /// A call that reads.
    async fn get<T: DeserializeOwned>(&self, action: &'static str, query: &Query<'_>) -> Result<T, RestError> {
        let request = self.request(Method::GET, action, &format!("api/v1/{action}"))?.query(query);
        self.send(action, request).await
    }

    /// A call that changes something.
    async fn post<T: DeserializeOwned>(&self, action: &'static str, body: &Value) -> Result<T, RestError> {
        let request = self.request(Method::POST, action, &format!("api/v1/{action}"))?.json(body);
        self.send(action, request).await
    }

    /// A call with a form, which may take `time`.
    async fn post_form<T: DeserializeOwned>(
        &self,
        action: &'static str,
        path: &str,
        form: Form,
        time: Duration,
    ) -> Result<T, RestError> {
        let request = self.request(Method::POST, action, path)?.timeout(time).multipart(form);
        self.send(action, request).await
    }

    /// A request as the account, with nothing in it.
    fn request(&self, method: Method, action: &'static str, path: &str) -> Result<RequestBuilder, RestError> {
        let join = |error| RestError::Malformed { action, reason: format!("{path:?} is no path: {error}") };
        let request = self.http.request(method, self.base.join(path).map_err(join)?).timeout(ANSWER);
        Ok(match &self.account {
            Some(account) => request.header("X-Auth-Token", &account.token).header("X-User-Id", &account.user_id),
            None => request,
        })
    }

    async fn send<T: DeserializeOwned>(&self, action: &'static str, request: RequestBuilder) -> Result<T, RestError> {
        let response = request.send().await.map_err(|error| RestError::of_transport(action, error))?;
        let status = response.status();
        refuse_redirect(action, &response)?;
        let until_ms = limit_end(response.headers());
        let body = read(action, response).await?;
        let malformed = |reason: String| RestError::Malformed { action, reason };
        if !status.is_success() {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Err(RestError::of_answer(action, status, until_ms, &body));
        }
        let body: Value = serde_json::from_slice(&body).map_err(|_| malformed("it is not JSON".to_owned()))?;
        if body.get("success").and_then(Value::as_bool) == Some(false) {
            return Err(RestError::of_answer(action, StatusCode::BAD_REQUEST, until_ms, &body));
        }
        serde_json::from_value(body).map_err(|error| malformed(error.to_string()))
    }
}

fn refuse_redirect(action: &'static str, response: &Response) -> Result<(), RestError> {
    if !response.status().is_redirection() {
        return Ok(());
    }
    let target = response.headers().get(LOCATION).and_then(|target| target.to_str().ok()).unwrap_or("another address");
    let target = shown(target);
    Err(RestError::Malformed { action, reason: format!("it points to {target}; connect to that address instead") })
}

/// As much of an address as may be read by anybody: that of an incoming webhook is a secret from `/hooks/` on, and what stands behind
/// a path may be one.
fn shown(address: &str) -> String {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    let plain = plain.split("/hooks/").next().unwrap_or_default();
    plain.chars().take(200).collect()
}

/// Reads an answer, up to a bound.
async fn read(action: &'static str, mut response: Response) -> Result<Vec<u8>, RestError> {
    let too_large = || RestError::TooLarge { action, limit: MAX_ANSWER_BYTES };
    if response.content_length().is_some_and(|length| length > MAX_ANSWER_BYTES) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| RestError::of_transport(action, error))? {
        if (body.len() + part.len()) as u64 > MAX_ANSWER_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// When a limit ends: what the server says, within reason.
fn limit_end(headers: &HeaderMap) -> u64 {
    let now = SystemClock.now_ms();
    let told = headers.get("x-ratelimit-reset").and_then(|reset| reset.to_str().ok()?.trim().parse::<u64>().ok());
    told.unwrap_or(now + LIMIT_WINDOW_MS).clamp(now, now + MAX_LIMIT_MS)
}
