//! Accounts: who somebody is, and accounts for those who are elsewhere.
//!
//! An account that stands for somebody is made when it is first needed, and logged in once. Its password is made from the server's
//! secret key, so that nothing has to be kept to log in again after a crash, a lost token or a restored backup.

use rocketmesh_protocol::identity::UserId;

use super::profiles::Look;
use super::{Bridge, Stall, lock};
use crate::clock::random_16;
use crate::rocketchat::client::{Account as Login, Client, NewUser, RestError, User};
use crate::rocketchat::mapping::shadow;
use crate::rocketchat::records::{Account, Changes, Standing};
use crate::rocketchat::status::ProblemKind;

/// Keeps passwords apart from every other use of the key.
const PASSWORD: &str = "rocketmesh 2026 password of an account that stands for somebody";
/// The permission to make accounts. Without it people elsewhere speak through the service account.
const CREATE_USER: &str = "create-user";
/// What a problem is about where the workspace takes no such accounts for another reason.
const ACCOUNTS: &str = "accounts of people elsewhere";
/// Accounts that are made for people of one server elsewhere. Further ones speak through the service account: a server can name as many
/// people as it likes.
const MOST_OF_A_SERVER: usize = 5_000;
/// How many usernames are tried for one user.
const ATTEMPTS: u32 = 20;
/// How long an account that could not log in is left alone, in milliseconds, and the most of whom that is remembered. Letters are tried
/// again after a minute.
const BARRED_MS: u64 = 30_000;
const MOST_BARRED: usize = 10_000;
/// How long no account is made after one was refused, in milliseconds.
const UNMADE_MS: u64 = 5 * 60_000;
/// The length of texts that may be a username.
const LONGEST_NAME: usize = 200;

/// As whom something is said.
pub(super) struct Speaker {
    /// The server, as that account.
    pub(super) client: Client,
    /// The account's username.
    pub(super) username: String,
    /// The name that is shown, where nobody stands for the user.
    pub(super) alias: Option<String>,
    /// The name under which the service account may say it, where the account that stands for the user may not.
    pub(super) substitute: Option<String>,
    /// The address of the picture that is shown with either name.
    pub(super) picture: String,
}

impl Bridge {
    /// Sees to it that the account is known, by its id or else by its name, and by the name that it has now.
    pub(super) async fn meet(&self, id: Option<&str>, username: &str) -> Result<(), Stall> {
        let id = id.filter(|id| !id.is_empty());
        if username.is_empty() || username.len() > LONGEST_NAME || username.contains(char::is_whitespace) {
            return Ok(());
        }
        if self.is_met(id, username)? {
            return Ok(());
        }
        let _one = self.meeting.lock().await;
        if self.is_met(id, username)? {
            return Ok(());
        }
        let user = match id {
            Some(id) => self.client.user_by_id(id).await?,
            None => self.client.user_by_name(username).await?,
        };
        let Some(user) = user else { return Ok(()) };
        let before = self.records.account(&user.id)?;
        let who = match &before {
            Some(before) => before.who.clone(),
            None => self.standing(&user)?,
        };
        let mut changes = Changes::default();
        changes.account(&user.id, before.as_ref(), &Account { username: user.username, who });
        self.save(&changes).await
    }

    fn is_met(&self, id: Option<&str>, username: &str) -> Result<bool, Stall> {
        Ok(match id {
            Some(id) => self.records.account(id)?.is_some_and(|account| account.username == username),
            None => self.records.account_named(username)?.is_some(),
        })
    }

    /// Whoever is a bot speaks for nobody: it may stand for somebody elsewhere, and the record of that may be lost.
    fn standing(&self, user: &User) -> Result<Standing, Stall> {
        let machine = |word: &str| matches!(word, "bot" | "app");
        let no_person = user.roles.iter().any(|role| machine(role)) || user.kind.as_deref().is_some_and(machine);
        if no_person || user.id == self.service.id {
            return Ok(Standing::Service);
        }
        let localpart = self.records.free_localpart(user)?;
        Ok(localpart.map_or(Standing::Service, |localpart| Standing::Local(localpart.to_string())))
    }

    /// Notes a new name of an account that is known.
    pub(super) async fn renamed(&self, id: &str, username: &str) -> Result<(), Stall> {
        let _one = self.meeting.lock().await;
        let Some(before) = self.records.account(id)?.filter(|before| before.username != username) else {
            return Ok(());
        };
        let mut changes = Changes::default();
        changes.account(id, Some(&before), &Account { username: username.to_owned(), who: before.who.clone() });
        self.save(&changes).await
    }

    /// As whom to say what a user says: as the account that stands for them, or, for local users and where no accounts may be made,
    /// as the service account under their name.
    pub(super) async fn speaker(&self, user: &UserId) -> Result<Speaker, Stall> {
        if user.origin != self.engine.origin
            && let Some((id, username)) = self.shadow(user).await?
        {
            let client = self.log_in(user, &id, &username).await?;
            let substitute = Some(shadow::display(user, self.server_name(user).as_deref()));
            let picture = self.picture_address(&username);
            return Ok(Speaker { client, username, alias: None, substitute, picture });
        }
        let server = self.server_name(user);
        let alias = match user.origin == self.engine.origin {
            true => user.localpart.to_string(),
            false => shadow::display(user, server.as_deref()),
        };
        // Of a name that no account has Rocket.Chat draws a picture, another one for each.
        let picture = self.picture_address(&shadow::username(user, server.as_deref(), 0));
        let (client, username) = (self.client.clone(), self.service.username.clone());
        Ok(Speaker { client, username, alias: Some(alias), substitute: None, picture })
    }

    /// The address of the picture of an account, as people's browsers reach it.
    fn picture_address(&self, username: &str) -> String {
        format!("{}/avatar/{username}", self.url)
    }

    pub(super) fn server_name(&self, user: &UserId) -> Option<String> {
        self.engine.names.name(&user.origin).map(|name| name.to_string())
    }

    fn password(&self, user: &UserId) -> String {
        let mut hasher = blake3::Hasher::new_derive_key(PASSWORD);
        hasher.update(&self.engine.key.seed());
        hasher.update(user.to_string().as_bytes());
        // A policy may ask for letters of both kinds and a sign.
        format!("{}-Rm1!", hasher.finalize().to_hex())
    }

    /// The id and username of the account that stands for a user, made if there is none. None where none may be made.
    pub(super) async fn shadow(&self, user: &UserId) -> Result<Option<(String, String)>, Stall> {
        let known = || -> Result<Option<(String, String)>, Stall> {
            let Some(id) = self.records.shadow(user)? else { return Ok(None) };
            Ok(self.records.account(&id)?.map(|account| (id, account.username)))
        };
        if let Some(known) = known()? {
            return Ok(Some(known));
        }
        let _one = self.meeting.lock().await;
        if let Some(known) = known()? {
            return Ok(Some(known));
        }
        // The permission is the service account's: what was refused for one is refused for everybody.
        if self.makes_none() {
            return Ok(None);
        }
        let server = self.server_name(user);
        if self.records.shadows_of(&user.origin)? >= MOST_OF_A_SERVER {
            tracing::warn!(%user, "no account is made: {MOST_OF_A_SERVER} people of that server have one");
            return Ok(None);
        }
        for attempt in 0..ATTEMPTS {
            let username = shadow::username(user, server.as_deref(), attempt);
            let new = NewUser {
                username: username.clone(),
                name: shadow::display(user, server.as_deref()),
                email: shadow::email(user, attempt),
                password: self.password(user),
            };
            let id = match self.client.users_create(&new).await {
                Ok(made) => made.id,
                Err(error @ RestError::Forbidden { .. }) => {
                    self.makes_none_now(CREATE_USER, &error);
                    return Ok(None);
                }
                Err(error) if error.is_passing() && !error.is_outcome_unknown() => return Err(error.into()),
                // The settings of the workspace are in the way, and would be with another name. Logins that fail are counted against
                // this machine, so that none is tried.
                Err(error) if !error.is_outcome_unknown() && !error.is_taken() => {
                    self.makes_none_now(ACCOUNTS, &error);
                    return Ok(None);
                }
                // Taken, or made by a call whose answer was lost: it is ours if the password is.
                Err(error) => match self.client.login(&username, &new.password).await {
                    Ok(login) => login.user_id,
                    Err(limit @ RestError::RateLimited { .. }) => return Err(limit.into()),
                    Err(_) if error.is_outcome_unknown() => return Err(error.into()),
                    Err(_) => continue,
                },
            };
            for about in [CREATE_USER, ACCOUNTS] {
                self.host.clear(ProblemKind::PermissionMissing, Some(about));
            }
            let mut changes = Changes::default();
            let account = Account { username: username.clone(), who: Standing::Shadow(user.to_string()) };
            changes.account(&id, None, &account);
            self.save(&changes).await?;
            self.looks.at(Look::User(user.clone()));
            return Ok(Some((id, username)));
        }
        Ok(None)
    }

    /// The server, as the account that stands for a user. [`Stall::Shadow`] if it cannot log in.
    pub(super) async fn log_in(&self, user: &UserId, id: &str, username: &str) -> Result<Client, Stall> {
        if let Some(token) = self.host.token(id) {
            return Ok(self.client.as_account(&Login { user_id: id.to_owned(), token }));
        }
        // Logins are limited for everybody at one address: one account that is refused must not use up those of the others.
        if self.is_barred(id) {
            return Err(Stall::Shadow { username: username.to_owned() });
        }
        let _one = self.meeting.lock().await;
        if let Some(token) = self.host.token(id) {
            return Ok(self.client.as_account(&Login { user_id: id.to_owned(), token }));
        }
        let password = self.password(user);
        let login = match self.client.login(username, &password).await {
            Ok(login) => login,
            Err(RestError::Unauthorized | RestError::Forbidden { .. } | RestError::Refused { .. }) => {
                self.bar(id);
                return Err(Stall::Shadow { username: username.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        let own = self.client.as_account(&login);
        let name = format!("rocketmesh-{}", hex::encode(&random_16(&*self.engine.entropy)[..6]));
        let account = match own.generate_personal_token(&name, &password).await {
            Ok(account) => account,
            // Without tokens of their own the login serves until it ends.
            Err(error) if !error.is_passing() => login,
            Err(error) => return Err(error.into()),
        };
        self.host.keep_token(id, Some(&account.token)).map_err(Stall::Words)?;
        Ok(self.client.as_account(&account))
    }

    /// Notes why no account is made for a while.
    fn makes_none_now(&self, about: &str, error: &RestError) {
        *lock(&self.unmade) = Some(self.engine.clock.now_ms());
        self.host.raise(ProblemKind::PermissionMissing, Some(about), &error.to_string());
    }

    /// Whether an account could not be made a while ago, so that it is not tried again.
    fn makes_none(&self) -> bool {
        let now_ms = self.engine.clock.now_ms();
        lock(&self.unmade).is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < UNMADE_MS)
    }

    /// Whether an account could not log in just now, so that it is not tried again.
    fn is_barred(&self, id: &str) -> bool {
        let now_ms = self.engine.clock.now_ms();
        lock(&self.barred).get(id).is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) < BARRED_MS)
    }

    fn bar(&self, id: &str) {
        let now_ms = self.engine.clock.now_ms();
        let mut barred = lock(&self.barred);
        if barred.len() >= MOST_BARRED {
            barred.clear();
        }
        barred.insert(id.to_owned(), now_ms);
    }

    /// A token that is no longer accepted is forgotten: the next use logs in again.
    pub(super) fn forget_token(&self, client: &Client) {
        if let Some(account) = client.account().filter(|account| account.user_id != self.service.id)
            && let Err(error) = self.host.keep_token(&account.user_id, None)
        {
            tracing::warn!(%error, "a token that is no longer accepted was not forgotten");
        }
    }
}
