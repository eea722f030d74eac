//! Accounts: created, changed, logged in.

use serde_json::{Value, json};

use crate::documents::{Avatar, Token, User};
use crate::id;
use crate::moment::Moment;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rules::mentions::is_name;
use crate::state::{Event, State};

/// How long a login holds: ninety days.
const LOGIN_MS: i64 = 90 * 86_400_000;

/// An account that is to be.
#[derive(Debug, Default)]
pub(crate) struct NewUser {
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) roles: Vec<String>,
    pub(crate) verified: bool,
    pub(crate) join_default_channels: bool,
    /// Whether somebody has to approve it first.
    pub(crate) waits: bool,
}

impl State {
    /// Makes an account without asking who wants it.
    pub(crate) fn add_user(&mut self, new: NewUser) -> Result<User, Refusal> {
        if new.username.is_empty() || !new.username.chars().all(is_name) {
            let reason = format!("{} is not a valid username", new.username);
            return Err(Refusal::coded("error-input-is-not-a-valid-field", reason));
        }
        self.free_username(&new.username, None)?;
        self.free_email(&new.email, None)?;
        let now = self.now();
        let user = User {
            id: id::id(),
            username: new.username,
            name: new.name,
            email: new.email,
            verified: new.verified,
            password: id::sha256(new.password.as_bytes()),
            roles: if new.roles.is_empty() { vec!["user".to_owned()] } else { new.roles },
            active: !new.waits,
            status: "offline".to_owned(),
            status_text: String::new(),
            created_at: now,
            updated_at: now,
            avatar: None,
            tokens: Vec::new(),
        };
        self.put_user(user.clone());
        if new.join_default_channels {
            self.add_member("GENERAL", &user.id, None)?;
        }
        Ok(user)
    }

    /// Changes an account, by `users.update` or `users.updateOwnBasicInfo`.
    pub(crate) fn update_user(&mut self, uid: &str, change: &Value) -> Result<(), Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        let mut user = self.users.get(uid).cloned().ok_or_else(invalid)?;
        let text = |key: &str| change.get(key).and_then(Value::as_str);
        let mut renamed = false;
        if let Some(name) = text("name").filter(|name| *name != user.name) {
            name.clone_into(&mut user.name);
            renamed = true;
        }
        if let Some(username) = text("username").filter(|username| *username != user.username) {
            if username.is_empty() || !username.chars().all(is_name) {
                let reason = format!("{username} is not a valid username");
                return Err(Refusal::coded("error-input-is-not-a-valid-field", reason));
            }
            self.free_username(username, Some(uid))?;
            username.clone_into(&mut user.username);
            renamed = true;
        }
        if let Some(email) = text("email") {
            self.free_email(email, Some(uid))?;
            email.clone_into(&mut user.email);
        }
        if let Some(password) = text("password") {
            user.password = id::sha256(password.as_bytes());
        }
        if let Some(roles) = change.get("roles").and_then(Value::as_array) {
            user.roles = roles.iter().filter_map(|role| role.as_str().map(str::to_owned)).collect();
        }
        if let Some(status) = text("statusText") {
            status.clone_into(&mut user.status_text);
        }
        if let Some(active) = change.get("active").and_then(Value::as_bool) {
            user.active = active;
        }
        self.put_user(user.clone());
        if renamed {
            let change = json!({"_id": user.id, "name": user.name, "username": user.username});
            self.tell(Event::Logged { name: "Users:NameChanged", args: vec![change] });
        }
        Ok(())
    }

    /// Closes an account or opens it again. Closing it ends its logins.
    pub(crate) fn set_active(&mut self, uid: &str, active: bool) -> Result<(), Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        let mut user = self.users.get(uid).cloned().ok_or_else(invalid)?;
        user.active = active;
        if !active {
            user.tokens.clear();
            self.tell(Event::LoggedOut { uid: uid.to_owned() });
        }
        self.put_user(user);
        Ok(())
    }

    /// Deletes an account with its messages and memberships, as a server does that is set to delete.
    pub(crate) fn delete_user(&mut self, uid: &str) -> Result<(), Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        self.users.get(uid).ok_or_else(invalid)?;
        let rooms: Vec<String> = self.subscriptions_of(uid).into_iter().map(|member| member.rid.clone()).collect();
        for rid in rooms {
            let written: Vec<String> =
                self.messages(&rid).filter(|message| message.u.id == uid).map(|message| message.id.clone()).collect();
            for id in written {
                self.remove_message(&id);
            }
            self.remove_subscription(&rid, uid);
        }
        self.remove_user(uid);
        self.tell(Event::LoggedOut { uid: uid.to_owned() });
        let deleted = json!({"userId": uid, "messageErasureType": "Delete"});
        self.tell(Event::Logged { name: "Users:Deleted", args: vec![deleted] });
        Ok(())
    }

    /// Sets the picture of an account.
    pub(crate) fn set_avatar(&mut self, uid: &str, mime: String, bytes: Vec<u8>) -> Result<(), Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        let mut user = self.users.get(uid).cloned().ok_or_else(invalid)?;
        let etag = id::id();
        self.put_file(&format!("avatar-{uid}"), bytes).map_err(|error| Refusal::plain(error.to_string()))?;
        user.avatar = Some(Avatar { etag: etag.clone(), mime });
        let username = user.username.clone();
        self.put_user(user);
        let change = json!({"username": username, "etag": etag});
        self.tell(Event::Logged { name: "updateAvatar", args: vec![change] });
        Ok(())
    }

    /// Sets whether somebody is there.
    pub(crate) fn set_status(&mut self, uid: &str, status: Option<&str>, text: Option<&str>) -> Result<(), Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        let mut user = self.users.get(uid).cloned().ok_or_else(invalid)?;
        if let Some(status) = status {
            if !["online", "away", "busy", "offline"].contains(&status) {
                let reason = "Valid status types include online, away, offline, and busy.";
                return Err(Refusal::coded("error-invalid-status", reason));
            }
            status.clone_into(&mut user.status);
        }
        if let Some(text) = text {
            text.clone_into(&mut user.status_text);
        }
        let number = match user.status.as_str() {
            "online" => 1,
            "away" => 2,
            "busy" => 3,
            _ => 0,
        };
        self.put_user(user.clone());
        let presence = json!([user.id, user.username, number, user.status_text, user.name, user.roles]);
        self.tell(Event::Logged { name: "user-status", args: vec![presence] });
        Ok(())
    }

    /// Who acts with a token, if it is valid. With `uid` it must be theirs.
    pub(crate) fn holder(&self, token: &str, uid: Option<&str>) -> Option<(&User, &Token)> {
        let hashed = id::sha256(token.as_bytes());
        let now = self.now();
        let candidates: Vec<&User> = match uid {
            Some(uid) => self.users.get(uid).into_iter().collect(),
            None => self.users.values().collect(),
        };
        candidates.into_iter().filter(|user| user.active).find_map(|user| {
            let valid = |token: &&Token| token.hashed == hashed && token.expires.is_none_or(|expires| expires > now);
            let token = user.tokens.iter().find(valid)?;
            Some((user, token))
        })
    }

    /// Whose password it is: the account of a username or an address of e-mail, and the SHA-256 of the password.
    pub(crate) fn by_password(&self, login: &str, digest: &str) -> Result<&User, Refusal> {
        let user = self.user_named(login).or_else(|| self.users.values().find(|user| user.email == login));
        let verified = |user: &User| {
            !self.is_on("Accounts_EmailVerification") || user.verified || user.roles.iter().any(|role| role == "admin")
        };
        let fits = |user: &&User| user.active && user.password == digest && verified(user);
        user.filter(fits).ok_or(Refusal::WrongPassword)
    }

    /// Logs somebody in, and gives their token and when it ends.
    pub(crate) fn log_in(&mut self, uid: &str) -> (String, Moment) {
        let token = id::token();
        let expires = Moment(self.now().0 + LOGIN_MS);
        if let Some(mut user) = self.users.get(uid).cloned() {
            let hashed = id::sha256(token.as_bytes());
            user.tokens.push(Token { hashed, name: None, expires: Some(expires), bypass_two_factor: false });
            self.put_user(user);
        }
        (token, expires)
    }

    /// Makes a personal access token.
    pub(crate) fn add_personal_token(&mut self, uid: &str, name: &str, bypass: bool) -> Result<String, Refusal> {
        if !self.may(uid, Permission::CreatePersonalTokens, None) {
            return Err(Refusal::coded("not-authorized", "Not Authorized"));
        }
        self.add_token(uid, name, bypass)
    }

    /// Makes a personal access token without asking whether somebody may have one.
    pub(crate) fn add_token(&mut self, uid: &str, name: &str, bypass: bool) -> Result<String, Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        let mut user = self.users.get(uid).cloned().ok_or_else(invalid)?;
        if user.tokens.iter().any(|token| token.name.as_deref() == Some(name)) {
            let reason = "A token with this name already exists";
            return Err(Refusal::coded("error-token-already-exists", reason));
        }
        let token = id::token();
        let hashed = id::sha256(token.as_bytes());
        user.tokens.push(Token { hashed, name: Some(name.to_owned()), expires: None, bypass_two_factor: bypass });
        self.put_user(user);
        Ok(token)
    }

    /// Ends every login and token of somebody.
    pub(crate) fn expire(&mut self, uid: &str) {
        if let Some(mut user) = self.users.get(uid).cloned() {
            user.tokens.clear();
            self.put_user(user);
            self.tell(Event::LoggedOut { uid: uid.to_owned() });
        }
    }

    fn free_username(&self, username: &str, except: Option<&str>) -> Result<(), Refusal> {
        let lower = username.to_lowercase();
        let taken = |user: &User| user.username.to_lowercase() == lower && Some(user.id.as_str()) != except;
        if lower == "all" || lower == "here" || self.users.values().any(taken) {
            return Err(Refusal::coded("error-field-unavailable", format!("{username} is already in use :(")));
        }
        Ok(())
    }

    fn free_email(&self, email: &str, except: Option<&str>) -> Result<(), Refusal> {
        let taken = |user: &User| user.email == email && Some(user.id.as_str()) != except;
        if self.users.values().any(taken) {
            return Err(Refusal::coded("error-field-unavailable", format!("{email} is already in use :(")));
        }
        Ok(())
    }
}
