//! What tests ask of the stand-in itself, which no Rocket.Chat has: at `POST /_standin` with one [`Wish`] as its body, or by
//! [`Standin::wish`](crate::Standin::wish) in the same process. The path exists only where it was asked for at the start.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::documents::Webhook;
use crate::dump::dump;
use crate::faults::Fault;
use crate::id;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rules::users::NewUser;
use crate::server::Server;
use crate::state::State;

/// One wish.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Wish {
    /// An account, with a personal access token. Answers an [`Account`].
    AddUser {
        /// What they are called.
        username: String,
        /// Their roles; `user` if there are none.
        #[serde(default)]
        roles: Vec<String>,
    },
    /// Makes the workspace one that has not reached its vendor for ten days, or an ordinary one again.
    Restrict {
        /// Whether it may not send.
        restricted: bool,
    },
    /// Ends all logins and tokens of somebody.
    ExpireTokens {
        /// Whose.
        username: String,
    },
    /// Limits calls as a real server does, or no longer.
    Limit {
        /// Whether there are limits.
        on: bool,
    },
    /// Lets calls go wrong.
    Fault(Fault),
    /// Closes every websocket.
    DropWebsockets,
    /// Stops the clock, so that several documents are of one millisecond, or lets it go on.
    Freeze {
        /// Whether it stands still.
        frozen: bool,
    },
    /// Has the clock go ahead of the time, for what is of minutes ago.
    Ahead {
        /// By so many milliseconds.
        ms: u32,
    },
    /// Answers nothing for a while, and closes every websocket.
    GoAway {
        /// For so many milliseconds.
        ms: u64,
    },
    /// Holds back what the streams tell from now on.
    DelayStreams {
        /// For so many milliseconds; 0 for no longer.
        ms: u64,
    },
    /// Lets subscriptions of what happens in a room wait, as those of many rooms do at the pace that is allowed; or answers those
    /// that wait.
    HoldSubscriptions {
        /// Whether they wait.
        held: bool,
    },
    /// Lets the preview of a message's link arrive, which tells the message anew.
    Preview {
        /// The message, by its id.
        message: String,
    },
    /// Changes a setting, as an administrator does.
    Set {
        /// Which.
        setting: String,
        /// To what.
        value: Value,
    },
    /// Changes which roles have a permission, as an administrator does.
    Permit {
        /// Which, such as `create-user`.
        permission: String,
        /// The roles that have it from now on; without them, those of a new server.
        #[serde(default)]
        roles: Option<Vec<String>>,
    },
    /// Makes an incoming webhook. Answers its `path`.
    AddWebhook {
        /// As whom it speaks.
        username: String,
        /// Where: `#name` or `@username`.
        channel: String,
    },
    /// Makes an emoji one that this server does not have.
    RefuseEmoji {
        /// Its name, without colons.
        emoji: String,
    },
    /// Says what there is. Answers a list of [`HeldRoom`](crate::HeldRoom).
    Dump,
    /// Says what was asked over REST. Answers a list of [`Recorded`](crate::Recorded).
    Requests,
    /// Says how many websockets there are.
    Websockets,
}

/// An account that tests act with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its id.
    pub user_id: String,
    /// What it is called.
    pub username: String,
    /// A personal access token that needs no second factor.
    pub token: String,
    /// The password.
    pub password: String,
}

/// A wish that cannot be granted.
#[derive(Debug, thiserror::Error)]
#[error("the stand-in cannot do that: {0}")]
pub struct WishError(String);

impl From<String> for WishError {
    fn from(text: String) -> Self {
        WishError(text)
    }
}

impl From<Refusal> for WishError {
    fn from(refusal: Refusal) -> Self {
        WishError(refusal.to_string())
    }
}

/// Grants wishes over HTTP, also while the server is away.
pub(crate) async fn answer(Shared(server): Shared<Arc<Server>>, Json(wish): Json<Wish>) -> Response {
    match grant(&server, wish) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Grants a wish.
pub(crate) fn grant(server: &Server, wish: Wish) -> Result<Value, WishError> {
    match wish {
        Wish::AddUser { username, roles } => return Ok(json!(add_user(server, &username, roles)?)),
        Wish::Restrict { restricted } => act(server, |state| state.restricted = restricted)?,
        Wish::ExpireTokens { username } => {
            let uid = server.read(|state| state.user_named(&username).map(|user| user.id.clone()));
            let uid = uid.ok_or_else(|| WishError(format!("there is nobody called {username}")))?;
            act(server, |state| state.expire(&uid))?;
        }
        Wish::Limit { on } => server.limit(on),
        Wish::Fault(fault) => server.add_fault(fault),
        Wish::DropWebsockets => server.connections.close_all(),
        Wish::Freeze { frozen } => act(server, |state| state.frozen = frozen.then(|| state.now()))?,
        Wish::Ahead { ms } => act(server, |state| state.ahead_ms = i64::from(ms))?,
        Wish::HoldSubscriptions { held } => server.connections.hold(held),
        Wish::GoAway { ms } => server.go_away(Duration::from_millis(ms)),
        Wish::DelayStreams { ms } => server.connections.delay(Duration::from_millis(ms)),
        Wish::Preview { message } => {
            if !server.act(|state| Ok(state.preview(&message)))? {
                return Err(WishError(format!("there is no message {message} with a link in it")));
            }
        }
        Wish::Set { setting, value } => act(server, |state| state.set(&setting, value))?,
        Wish::Permit { permission, roles } => {
            if !Permission::NAMED.iter().any(|(name, _)| *name == permission) {
                return Err(WishError(format!("there is no permission called {permission} here")));
            }
            act(server, |state| match roles {
                Some(roles) => drop(state.permitted.insert(permission, roles)),
                None => drop(state.permitted.remove(&permission)),
            })?;
        }
        Wish::AddWebhook { username, channel } => {
            let hook = Webhook { id: id::id(), token: id::token(), username, channel };
            let path = format!("/hooks/{}/{}", hook.id, hook.token);
            act(server, |state| state.put_webhook(hook))?;
            return Ok(json!({"path": path}));
        }
        Wish::RefuseEmoji { emoji } => act(server, |state| {
            state.refused_emojis.insert(emoji);
        })?,
        Wish::Dump => return Ok(json!(server.read(dump))),
        Wish::Requests => return Ok(json!(server.recorded())),
        Wish::Websockets => return Ok(json!(server.connections.count())),
    }
    Ok(json!({}))
}

fn act(server: &Server, act: impl FnOnce(&mut State)) -> Result<(), Refusal> {
    server.act(|state| {
        act(state);
        Ok(())
    })
}

fn add_user(server: &Server, username: &str, roles: Vec<String>) -> Result<Account, WishError> {
    let password = format!("password of {username}");
    let account = server.act(|state| {
        let user = state.add_user(NewUser {
            username: username.to_owned(),
            name: username.to_owned(),
            email: format!("{username}@example.org"),
            password: password.clone(),
            roles,
            verified: true,
            join_default_channels: false,
            waits: false,
        })?;
        let token = state.add_token(&user.id, "tests", true)?;
        Ok(Account { user_id: user.id, username: username.to_owned(), token, password })
    })?;
    Ok(account)
}
