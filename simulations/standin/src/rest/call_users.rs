//! `login`, `users.*`, `settings`: accounts.

use serde_json::{Value, json};

use crate::documents::User;
use crate::id;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rest::Caller;
use crate::rest::ask::Ask;
use crate::rules::users::NewUser;
use crate::state::State;

/// Answers the calls of this file.
pub(super) fn post(state: &mut State, caller: &Caller, parts: &[&str], ask: &Ask) -> Option<Result<Value, Refusal>> {
    let uid = caller.uid.as_str();
    Some(match parts {
        ["users.create"] => create(state, uid, ask),
        ["users.update"] => update(state, uid, ask),
        ["users.updateOwnBasicInfo"] => update_own(state, uid, ask),
        ["users.setAvatar"] => set_avatar(state, uid, ask),
        ["users.setStatus"] => state.set_status(uid, ask.text("status"), ask.text("message")).map(|()| json!({})),
        ["users.setActiveStatus"] => set_active(state, uid, ask),
        ["users.delete"] => delete(state, uid, ask),
        ["users.generatePersonalAccessToken"] => personal_token(state, caller, ask),
        ["settings", setting] => set(state, uid, setting, ask),
        _ => return None,
    })
}

/// `login`: by name and password, or by a token.
pub(super) fn login(state: &mut State, ask: &Ask) -> Result<Value, Refusal> {
    let uid = match ask.text("resume") {
        Some(token) => state.holder(token, None).map(|(user, _)| user.id.clone()).ok_or(Refusal::WrongPassword)?,
        None => {
            let name = ask.text("user").or(ask.text("username")).or(ask.text("email")).unwrap_or_default();
            let digest = match ask.body.get("password") {
                Some(Value::String(password)) => id::sha256(password.as_bytes()),
                Some(password) => password["digest"].as_str().unwrap_or_default().to_owned(),
                None => return Err(Refusal::WrongPassword),
            };
            state.by_password(name, &digest)?.id.clone()
        }
    };
    let token = match ask.text("resume") {
        Some(token) => token.to_owned(),
        None => state.log_in(&uid).0,
    };
    let me = state.users.get(&uid).map(|user| shown(state, user, true));
    Ok(json!({"status": "success", "data": {"userId": uid, "authToken": token, "me": me}}))
}

/// An account as it is shown: to its owner and to administrators whole.
pub(super) fn shown(state: &State, user: &User, whole: bool) -> Value {
    let mut shown = json!({
        "_id": user.id, "type": "user", "status": user.status, "active": user.active, "name": user.name,
        "username": user.username, "statusText": user.status_text, "statusConnection": user.status,
        "utcOffset": 0,
    });
    if let Some(avatar) = &user.avatar {
        shown["avatarETag"] = json!(avatar.etag);
    }
    if whole {
        let site = state.setting("Site_Url").as_str().unwrap_or_default().trim_end_matches('/');
        shown["emails"] = json!([{"address": user.email, "verified": user.verified}]);
        shown["roles"] = json!(user.roles);
        shown["createdAt"] = json!(user.created_at);
        shown["_updatedAt"] = json!(user.updated_at);
        shown["settings"] = json!({"preferences": {}});
        shown["avatarUrl"] = json!(format!("{site}/avatar/{}", user.username));
    }
    shown
}

fn create(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&[
        "email",
        "name",
        "password",
        "username",
        "active",
        "bio",
        "nickname",
        "statusText",
        "roles",
        "joinDefaultChannels",
        "requirePasswordChange",
        "setRandomPassword",
        "sendWelcomeEmail",
        "verified",
        "customFields",
        "fields",
        "freeSwitchExtension",
    ])?;
    let new = NewUser {
        username: ask.needed("username")?.to_owned(),
        name: ask.needed("name")?.to_owned(),
        email: ask.needed("email")?.to_owned(),
        password: ask.needed("password")?.to_owned(),
        roles: ask.texts("roles"),
        verified: ask.choice("verified").unwrap_or(false),
        join_default_channels: ask.choice("joinDefaultChannels").unwrap_or(true),
        waits: state.is_on("Accounts_ManuallyApproveNewUsers"),
    };
    if !state.may(uid, Permission::CreateUser, None) {
        return Err(Refusal::coded("error-action-not-allowed", "Adding user is not allowed"));
    }
    may_have_address(state, &new.email)?;
    let user = state.add_user(new)?;
    Ok(json!({"user": shown(state, &user, true)}))
}

/// Whether the settings let somebody have an address of its domain.
fn may_have_address(state: &State, email: &str) -> Result<(), Refusal> {
    let domain = email.rsplit('@').next().unwrap_or_default().to_lowercase();
    let listed = |setting: &str| -> Vec<String> {
        let text = state.setting(setting).as_str().unwrap_or_default();
        text.split(',').map(|domain| domain.trim().to_lowercase()).filter(|domain| !domain.is_empty()).collect()
    };
    let allowed = listed("Accounts_AllowedDomainsList");
    if !allowed.is_empty() && !allowed.contains(&domain) {
        return Err(Refusal::coded("error-invalid-domain", "The email domain is not in whitelist"));
    }
    if listed("Accounts_BlockedDomainsList").contains(&domain) {
        return Err(Refusal::coded("error-email-domain-blacklisted", "The email domain is blacklisted"));
    }
    Ok(())
}

fn update(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&["userId", "data", "confirmRelinquish"])?;
    let target = ask.needed("userId")?;
    let change = ask.body.get("data").cloned().unwrap_or_default();
    if !state.may(uid, Permission::EditOtherUserInfo, None) {
        return Err(Refusal::coded("error-action-not-allowed", "Editing user is not allowed"));
    }
    state.update_user(target, &change)?;
    let user = state.users.get(target).map(|user| shown(state, user, true));
    Ok(json!({"user": user}))
}

fn update_own(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let change = ask.body.get("data").cloned().unwrap_or_default();
    let own = ["name", "username", "email", "statusText"];
    let kept = own.into_iter().filter_map(|key| Some((key.to_owned(), change.get(key)?.clone())));
    state.update_user(uid, &Value::Object(kept.collect()))?;
    let user = state.users.get(uid).map(|user| shown(state, user, true));
    Ok(json!({"user": user}))
}

/// The account that `userId` or `username` names, the caller's own without them.
fn target(state: &State, uid: &str, ask: &Ask) -> Result<String, Refusal> {
    let named = ask.text("userId").and_then(|uid| state.users.get(uid));
    let named = named.or_else(|| state.user_named(ask.text("username")?));
    match named {
        Some(user) => Ok(user.id.clone()),
        None if ask.text("userId").or(ask.text("username")).is_none() => Ok(uid.to_owned()),
        None => {
            let reason = "The required \"userId\" or \"username\" param provided does not match any users";
            Err(Refusal::coded("error-invalid-user", reason))
        }
    }
}

fn set_avatar(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let target = target(state, uid, ask)?;
    if target != uid && !state.may(uid, Permission::EditOtherUserAvatar, None) {
        return Err(Refusal::coded("error-not-allowed", "Not allowed"));
    }
    let picture = ask.file.clone().filter(|file| file.field == "image");
    let picture = picture.ok_or_else(|| Refusal::coded("error-wrong-image", "No file uploaded"))?;
    state.set_avatar(&target, picture.mime, picture.bytes)?;
    Ok(json!({}))
}

fn set_active(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let target = ask.needed("userId")?;
    if !state.may(uid, Permission::EditOtherUserActive, None) {
        return Err(Refusal::Forbidden);
    }
    state.set_active(target, ask.choice("activeStatus").unwrap_or(true))?;
    Ok(json!({"user": {"_id": target, "active": ask.choice("activeStatus")}}))
}

fn delete(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    if !state.may(uid, Permission::DeleteUser, None) {
        return Err(Refusal::Permission);
    }
    let target = target(state, uid, ask)?;
    state.delete_user(&target)?;
    Ok(json!({}))
}

/// A token for good. It takes a second factor, which for an account without any is the password: its SHA-256 in
/// hexadecimal, as `x-2fa-code`.
fn personal_token(state: &mut State, caller: &Caller, ask: &Ask) -> Result<Value, Refusal> {
    let name = ask.needed("tokenName")?;
    let password = state.users.get(&caller.uid).map(|user| user.password.clone()).unwrap_or_default();
    if !caller.bypass_two_factor && ask.second_factor.as_deref() != Some(password.as_str()) {
        let code = if ask.second_factor.is_some() { "totp-invalid" } else { "totp-required" };
        let reason = if ask.second_factor.is_some() { "TOTP Invalid" } else { "TOTP Required" };
        let details = json!({"method": "password", "codeGenerated": false, "availableMethods": []});
        return Err(Refusal::Coded { code, reason: reason.to_owned(), details: Some(details) });
    }
    let bypass = ask.choice("bypassTwoFactor").unwrap_or(false);
    let token = state.add_personal_token(&caller.uid, name, bypass)?;
    Ok(json!({"token": token}))
}

fn set(state: &mut State, uid: &str, setting: &str, ask: &Ask) -> Result<Value, Refusal> {
    if !state.may(uid, Permission::ManageSettings, None) {
        return Err(Refusal::Permission);
    }
    let value = ask.body.get("value").cloned().ok_or_else(|| Refusal::params("must have required property 'value'"))?;
    state.set(setting, value);
    Ok(json!({}))
}
