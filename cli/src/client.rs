//! The node's API as the commands use it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, Url, redirect};
use rocketmesh_node::api::types::{ErrorBody, ErrorDetail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::Globals;
use crate::failure::Failure;
use crate::text::excerpt;

/// How long to wait for a connection; the node is on this machine or on the administrator's own network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take that has no time of its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of an answer that is not the API's is shown.
const SHOWN_CHARACTERS: usize = 200;

/// The file in which a running node writes where its API listens.
const ADDRESS_FILE: &str = "api.address";

/// The file that holds the API's token.
const TOKEN_FILE: &str = "api.token";

/// A connection to a node's API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// What to say when nothing answers.
    absent: String,
}

/// What the API answered, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer(String);

impl Answer {
    /// The answer's JSON.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The answer, typed.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(|error| {
            Failure::failed(
                "answer_form",
                format!("the node's answer has another form than this program knows ({error}); use the same version"),
            )
        })
    }
}

impl Client {
    /// Finds the node that the options name and its token. Nothing is sent yet.
    pub(crate) fn new(globals: &Globals) -> Result<Self, Failure> {
        let data_dir = globals.data_dir();
        let (base, absent) = match &globals.api {
            Some(api) => {
                let absent = format!("no node answers at {api}; is it running, and is that its API's address?");
                (base_url(api)?, absent)
            }
            None => {
                let absent = format!(
                    "no node is running for {}; start one with `rocketmesh run`, \
                     or name another with --data-dir or --api",
                    data_dir.display()
                );
                (read_address(&data_dir, &absent)?, absent)
            }
        };
        let token_file = globals.token_file.clone().unwrap_or_else(|| data_dir.join(TOKEN_FILE));
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, read_token(&token_file)?);
        // Neither a proxy nor a redirect may see the token.
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| {
                Failure::failed("http_client", format!("cannot make an HTTP client: {}", chain(&error)))
            })?;
        Ok(Client { http, base, absent })
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::GET, path)?).await
    }

    /// Reads, with a query.
    pub(crate) async fn get_with<Q: Serialize>(&self, path: &[&str], query: &Q) -> Result<Answer, Failure> {
        self.answer(self.request(Method::GET, path)?.query(query)).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post<B: Serialize>(&self, path: &[&str], body: &B) -> Result<Answer, Failure> {
        self.post_within(path, body, REQUEST_TIMEOUT).await
    }

    /// Asks for something to be done that may take its own time.
    pub(crate) async fn post_within<B: Serialize>(
        &self,
        path: &[&str],
        body: &B,
        time: Duration,
    ) -> Result<Answer, Failure> {
        self.answer_within(self.request(Method::POST, path)?.json(body), time).await
    }

    /// Sets.
    pub(crate) async fn put<B: Serialize>(&self, path: &[&str], body: &B) -> Result<Answer, Failure> {
        self.answer(self.request(Method::PUT, path)?.json(body)).await
    }

    /// Sets what may take its own time.
    pub(crate) async fn put_within<B: Serialize>(
        &self,
        path: &[&str],
        body: &B,
        time: Duration,
    ) -> Result<Answer, Failure> {
        self.answer_within(self.request(Method::PUT, path)?.json(body), time).await
    }

    /// Takes away.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::DELETE, path)?).await
    }

    /// Opens an answer that comes bit by bit, as far as its headers; `silence` is how long these may take.
    pub(crate) async fn open<Q: Serialize>(
        &self,
        method: Method,
        path: &[&str],
        query: &Q,
        silence: Duration,
    ) -> Result<Response, Failure> {
        let sending = self.request(method, path)?.query(query).send();
        match tokio::time::timeout(silence, sending).await {
            Ok(sent) => accepted(sent.map_err(|error| self.sending(&error))?).await,
            Err(_) => Err(Failure::Lost(format!("the node did not answer within {} s", silence.as_secs()))),
        }
    }

    /// Hands over a body of any length, which is told if it is known, and for which the caller watches the time.
    pub(crate) async fn upload<Q: Serialize>(
        &self,
        path: &[&str],
        query: &Q,
        content_type: &'static str,
        len: Option<u64>,
        body: Body,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(Method::POST, path)?.query(query).header(CONTENT_TYPE, content_type).body(body);
        if let Some(len) = len {
            request = request.header(CONTENT_LENGTH, len);
        }
        let sent = request.send().await.map_err(|error| self.sending(&error))?;
        let text = accepted(sent).await?.text().await.map_err(|error| lost(&error))?;
        Ok(Answer(text))
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        Ok(self.http.request(method, endpoint(&self.base, path)?))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.answer_within(request, REQUEST_TIMEOUT).await
    }

    async fn answer_within(&self, request: RequestBuilder, time: Duration) -> Result<Answer, Failure> {
        let sent = request.timeout(time).send().await.map_err(|error| self.sending(&error))?;
        let text = accepted(sent).await?.text().await.map_err(|error| lost(&error))?;
        Ok(Answer(text))
    }

    fn sending(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            Failure::NoNode(format!("{} ({})", self.absent, root(error)))
        } else if error.is_builder() {
            Failure::failed("request", format!("the request cannot be written: {}", chain(error)))
        } else {
            lost(error)
        }
    }
}

/// The next bytes of an answer; none at its end. `silence` is how long the node may say nothing.
pub(crate) async fn next_chunk(response: &mut Response, silence: Duration) -> Result<Option<Vec<u8>>, Failure> {
    match tokio::time::timeout(silence, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk.map(Vec::from)),
        Ok(Err(error)) => Err(lost(&error)),
        Err(_) => Err(Failure::Lost(format!("the node said nothing for {} s", silence.as_secs()))),
    }
}

/// Lets a success pass and turns everything else into the failure that it describes.
async fn accepted(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let detail = match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => body.error,
        Err(_) => ErrorDetail {
            code: format!("http_{}", status.as_u16()),
            message: format!("the node answered {status}: {}", excerpt(text.trim(), SHOWN_CHARACTERS)),
        },
    };
    Err(Failure::answered(status.as_u16(), detail))
}

fn base_url(address: &str) -> Result<Url, Failure> {
    let usage = |message: String| Failure::Usage { code: "api_address", message };
    let text = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&text)
        .map_err(|error| usage(format!("`{address}` is no API address ({error}): expected http://127.0.0.1:4849")))?;
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        _ => Err(usage(format!(
            "`{address}` is no API address: expected http://HOST:PORT; reach a node elsewhere through an SSH tunnel"
        ))),
    }
}

fn endpoint(base: &Url, path: &[&str]) -> Result<Url, Failure> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Failure::Usage { code: "api_address", message: format!("`{base}` cannot be an API's address") })?
        .pop_if_empty()
        .push("v1")
        .extend(path);
    Ok(url)
}

/// Where the node in a directory says that its API listens.
fn read_address(data_dir: &Path, absent: &str) -> Result<Url, Failure> {
    let file = data_dir.join(ADDRESS_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => base_url(text.trim()).map_err(|_| {
            let message = format!(
                "{} holds no API address; start the node again, which writes it, or name the address with --api",
                file.display()
            );
            Failure::failed("api_address", message)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::NoNode(absent.to_owned())),
        Err(error) => Err(Failure::file("read", &file, &error)),
    }
}

fn read_token(file: &Path) -> Result<HeaderValue, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "a node writes it when it first starts; name the file with --token-file",
            io::ErrorKind::PermissionDenied => "run this as the node's user, or name a copy with --token-file",
            _ => "name the file with --token-file",
        };
        Failure::no_token(format!("cannot read the API token in {} ({error}): {advice}", file.display()))
    })?;
    let token = text.trim();
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| !token.is_empty()).ok_or_else(|| {
            Failure::no_token(format!("{} holds no API token; name another with --token-file", file.display()))
        })?;
    value.set_sensitive(true);
    Ok(value)
}

fn lost(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::Lost("the node did not answer in time; what was asked may still be done".to_owned())
    } else {
        Failure::Lost(format!("the connection to the node broke: {}", root(error)))
    }
}

/// The innermost cause, such as `Connection refused`, which says the most.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_leave_out_the_scheme_and_no_other_is_spoken() {
        assert_eq!(base_url("127.0.0.1:4849").expect("an address").as_str(), "http://127.0.0.1:4849/");
        assert_eq!(base_url("[::1]:4849").expect("an address").as_str(), "http://[::1]:4849/");
        for wrong in ["https://chat.example.org", "ftp://x", "http://", ""] {
            let failure = base_url(wrong).expect_err(wrong);
            assert_eq!(failure.exit_code(), 2, "{wrong}: {failure}");
        }
    }

    #[test]
    fn what_is_put_into_a_path_cannot_leave_its_segment() {
        let base = base_url("http://localhost:1/behind/").expect("an address");
        let url = endpoint(&base, &["events", "a/../b?c#d"]).expect("a path");
        assert_eq!(url.as_str(), "http://localhost:1/behind/v1/events/a%2F..%2Fb%3Fc%23d");
    }

    #[test]
    fn a_directory_without_a_running_node_says_how_to_start_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let globals = Globals { data_dir: Some(dir.path().to_owned()), api: None, token_file: None, json: false };
        let failure = Client::new(&globals).expect_err("no node runs there");
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.to_string().contains("rocketmesh run"), "{failure}");
    }

    #[test]
    fn a_damaged_address_is_said_to_stand_in_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        for damaged in ["", "two words\n", "https://x\n"] {
            fs::write(dir.path().join(ADDRESS_FILE), damaged).expect("writable");
            let failure = read_address(dir.path(), "absent").expect_err(damaged);
            assert!(failure.exit_code() == 1 && failure.to_string().contains(ADDRESS_FILE), "{damaged}: {failure}");
        }
        fs::write(dir.path().join(ADDRESS_FILE), "127.0.0.1:4849\n").expect("writable");
        assert_eq!(read_address(dir.path(), "absent").expect("it is sound").as_str(), "http://127.0.0.1:4849/");
    }

    #[test]
    fn a_missing_or_damaged_token_is_said_to_be_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("api.token");
        assert_eq!(read_token(&file).expect_err("there is none").exit_code(), 5);
        fs::write(&file, "\n").expect("writable");
        assert_eq!(read_token(&file).expect_err("it is empty").exit_code(), 5);
        fs::write(&file, "a\u{1}b").expect("writable");
        assert_eq!(read_token(&file).expect_err("it has a control character").exit_code(), 5);
        fs::write(&file, "abc\n").expect("writable");
        assert_eq!(read_token(&file).expect("it is sound"), "Bearer abc");
    }
}
