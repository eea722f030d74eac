//! `me`, `login`, `users.*`, `permissions.*`: accounts.

use std::time::Duration;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::types::lenient;
use super::{Account, Client, PermissionRoles, RestError, User};

/// How long a picture may take.
const PICTURE: Duration = Duration::from_secs(60);

/// An account to be made for somebody who is elsewhere.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewUser {
    /// The username. It must not contain `@` or `:`.
    pub(crate) username: String,
    /// The name that is shown.
    pub(crate) name: String,
    /// An address of e-mail, which nobody reads; it must be unique.
    pub(crate) email: String,
    /// A password, which is used once.
    pub(crate) password: String,
}

/// What is to change of an account. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ProfileChange {
    /// The name that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    /// What they say beside their status.
    #[serde(rename = "statusText", skip_serializing_if = "Option::is_none")]
    pub(crate) status_text: Option<String>,
}

#[derive(Deserialize)]
struct Done {}

#[derive(Deserialize)]
struct OneUser {
    user: User,
}

#[derive(Deserialize)]
struct LoggedIn {
    data: Login,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    user_id: String,
    auth_token: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default, deserialize_with = "lenient")]
    update: Vec<PermissionRoles>,
}

impl Client {
    /// Whose account this is.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn me(&self) -> Result<User, RestError> {
        self.get("me", &[]).await
    }

    /// Reads an account by its id. `None` if there is none.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn user_by_id(&self, user_id: &str) -> Result<Option<User>, RestError> {
        self.user(&[("userId", user_id)]).await
    }

    /// Reads an account by its username. `None` if there is none.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn user_by_name(&self, username: &str) -> Result<Option<User>, RestError> {
        self.user(&[("username", username)]).await
    }

    async fn user(&self, query: &[(&str, &str)]) -> Result<Option<User>, RestError> {
        match self.get::<OneUser>("users.info", query).await {
            Ok(answer) => Ok(Some(answer.user)),
            // Absence is 400 with a text alone.
            Err(RestError::Refused { error_type: None, .. } | RestError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the account of a shadow: roles user **and** bot (a bot alone may not delete its own messages), in no room.
    ///
    /// # Errors
    /// [`RestError`]. A username that is taken is refused.
    pub(crate) async fn users_create(&self, new: &NewUser) -> Result<User, RestError> {
        let body = json!({
            "username": new.username, "name": new.name, "email": new.email, "password": new.password,
            "roles": ["user", "bot"], "verified": false, "joinDefaultChannels": false, "requirePasswordChange": false,
            "sendWelcomeEmail": false,
        });
        let answer: OneUser = self.post("users.create", &body).await?;
        Ok(answer.user)
    }

    /// Logs in by password. Logins are limited for each address, whoever it is: once for each shadow, never again.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn login(&self, username: &str, password: &str) -> Result<Account, RestError> {
        let answer: LoggedIn = self.post("login", &json!({"user": username, "password": password})).await?;
        Ok(Account { user_id: answer.data.user_id, token: answer.data.auth_token })
    }

    /// Finds out whose a token is.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn login_by_token(&self, token: &str) -> Result<Account, RestError> {
        let answer: LoggedIn = self.post("login", &json!({"resume": token})).await?;
        Ok(Account { user_id: answer.data.user_id, token: answer.data.auth_token })
    }

    /// Makes a token for good, for the account as which this is called. The password is its own second factor.
    ///
    /// # Errors
    /// [`RestError`]. A name that is in use is refused.
    pub(crate) async fn generate_personal_token(&self, name: &str, password: &str) -> Result<Account, RestError> {
        const ACTION: &str = "users.generatePersonalAccessToken";
        let factor = hex::encode(Sha256::digest(password.as_bytes()));
        let request = self
            .request(Method::POST, ACTION, "api/v1/users.generatePersonalAccessToken")?
            .header("x-2fa-method", "password")
            .header("x-2fa-code", factor)
            .json(&json!({"tokenName": name, "bypassTwoFactor": true}));
        let answer: Token = self.send(ACTION, request).await?;
        let user_id = self.account().map(|account| account.user_id.clone()).unwrap_or_default();
        Ok(Account { user_id, token: answer.token })
    }

    /// Changes an account.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn users_update(&self, user_id: &str, change: &ProfileChange) -> Result<User, RestError> {
        let answer: OneUser = self.post("users.update", &json!({"userId": user_id, "data": change})).await?;
        Ok(answer.user)
    }

    /// Lets an account log in, or no longer.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn set_active(&self, user_id: &str, active: bool) -> Result<(), RestError> {
        let Done {} = self.post("users.setActiveStatus", &json!({"userId": user_id, "activeStatus": active})).await?;
        Ok(())
    }

    /// Changes somebody's picture.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn set_avatar(&self, user_id: &str, mime: &str, picture: Vec<u8>) -> Result<(), RestError> {
        const ACTION: &str = "users.setAvatar";
        let odd = |_| RestError::Malformed { action: ACTION, reason: format!("{mime:?} is no media type") };
        let image = Part::bytes(picture).file_name("avatar").mime_str(mime).map_err(odd)?;
        let form = Form::new().text("userId", user_id.to_owned()).part("image", image);
        let Done {} = self.post_form(ACTION, "api/v1/users.setAvatar", form, PICTURE).await?;
        Ok(())
    }

    /// Says whether the account is there: `online`, `away`, `busy`, `offline`. What it says beside it stays.
    ///
    /// # Errors
    /// [`RestError`]. A server may not let people be `offline` while they are there.
    pub(crate) async fn set_status(&self, status: &str) -> Result<(), RestError> {
        let Done {} = self.post("users.setStatus", &json!({"status": status})).await?;
        Ok(())
    }

    /// Marks a room as read to its end, for the account.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn mark_read(&self, rid: &str) -> Result<(), RestError> {
        let Done {} = self.post("subscriptions.read", &json!({"rid": rid})).await?;
        Ok(())
    }

    /// Which roles have which permission.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn permissions(&self) -> Result<Vec<PermissionRoles>, RestError> {
        let answer: Permissions = self.get("permissions.listAll", &[]).await?;
        Ok(answer.update)
    }
}
