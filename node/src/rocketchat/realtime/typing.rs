//! Typing signs of shadows. Rocket.Chat takes one only from a connection of whoever types, so each shadow that types has one,
//! for a while.
//!
//! Signs are worth nothing a moment later: whatever does not fit is dropped, and nobody is told.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::RealtimeTuning;
use super::session::Session;
use crate::rocketchat::client::Account;

/// The most signs that wait to be given out.
const MAX_SIGNS: usize = 64;
/// The most shadows that type at the same time.
const MAX_TYPISTS: usize = 16;
/// The most signs that wait for one shadow's connection.
const MAX_OF_ONE: usize = 4;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection stays that has nothing to say.
const IDLE: Duration = Duration::from_secs(60);

struct Sign {
    account: Account,
    username: String,
    rid: String,
    typing: bool,
}

/// Shows who types. Cheap to clone; ends with its last clone.
#[derive(Clone, Debug)]
pub(crate) struct Typing {
    signs: mpsc::Sender<Sign>,
}

impl Typing {
    /// Shows it at this server.
    pub(crate) fn start(base: &Url, tuning: RealtimeTuning) -> Self {
        let (signs, coming) = mpsc::channel(MAX_SIGNS);
        tokio::spawn(give_out(base.clone(), tuning, coming));
        Typing { signs }
    }

    /// Shows that a shadow types in a room, or no longer does. Dropped when too much is under way.
    pub(crate) fn show(&self, account: &Account, username: &str, rid: &str, typing: bool) {
        let sign = Sign { account: account.clone(), username: username.to_owned(), rid: rid.to_owned(), typing };
        let _ = self.signs.try_send(sign);
    }
}

async fn give_out(base: Url, tuning: RealtimeTuning, mut coming: mpsc::Receiver<Sign>) {
    let mut typists: BTreeMap<String, mpsc::Sender<Sign>> = BTreeMap::new();
    while let Some(sign) = coming.recv().await {
        typists.retain(|_, typist| !typist.is_closed());
        if !typists.contains_key(&sign.account.user_id) {
            if typists.len() >= MAX_TYPISTS {
                continue;
            }
            let (signs, own) = mpsc::channel(MAX_OF_ONE);
            tokio::spawn(type_as(base.clone(), sign.account.clone(), tuning, own));
            typists.insert(sign.account.user_id.clone(), signs);
        }
        if let Some(typist) = typists.get(&sign.account.user_id) {
            let _ = typist.try_send(sign);
        }
    }
}

/// The connection of one shadow, until it has had nothing to say for a while.
async fn type_as(base: Url, account: Account, tuning: RealtimeTuning, mut signs: mpsc::Receiver<Sign>) {
    let Ok(Ok(mut session)) = timeout(CONNECT, Session::log_in(&base, &account, tuning)).await else { return };
    let mut until = Instant::now() + IDLE;
    loop {
        let told = tokio::select! {
            sign = signs.recv() => match sign {
                Some(sign) => {
                    until = Instant::now() + IDLE;
                    session.tell_activity(&sign.rid, &sign.username, sign.typing).await
                }
                None => return,
            },
            heard = session.idle() => heard,
            () = sleep_until(until) => return,
        };
        if let Err(reason) = told {
            tracing::debug!(%reason, "the connection of somebody who types ended");
            return;
        }
    }
}
