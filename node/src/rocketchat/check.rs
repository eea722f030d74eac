//! Is everything at Rocket.Chat as it must be? One step after the other, each with what to change where it is not.
//!
//! Nothing is changed by looking: versions, roles and permissions are read, and a connection for what happens is opened and
//! closed again.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::client::{Account, Client, PermissionRoles, Release, RestError, User};
use super::realtime::{ClosedReason, RealtimeTuning, try_streams};

/// The oldest release that is known to work.
pub(crate) const OLDEST: Release = Release { major: 7, minor: 0 };
/// The newest one that the connector was written for.
pub(crate) const NEWEST: Release = Release { major: 8, minor: 8 };
/// How long the way to a connection for what happens may take.
const STREAMS: Duration = Duration::from_secs(20);

/// Where permissions are changed.
const PERMISSIONS: &str = "Administration, Permissions";

/// What the service account does and the permissions that this takes. Each must be with one of its roles.
const OF_SERVICE: [(&str, &str); 17] = [
    ("create-user", "make the accounts that stand for people elsewhere"),
    ("edit-other-user-info", "keep their names as they are elsewhere"),
    ("edit-other-user-avatar", "keep their pictures as they are elsewhere"),
    ("create-c", "make channels"),
    ("create-p", "make private groups"),
    ("add-user-to-any-c-room", "add people to channels"),
    ("add-user-to-joined-room", "add people to private groups"),
    ("remove-user", "remove people from rooms"),
    ("mute-user", "silence people in rooms"),
    ("set-owner", "make people owners of rooms"),
    ("set-moderator", "make people moderators of rooms"),
    ("set-leader", "make people leaders of rooms"),
    ("edit-room", "change names and topics of rooms"),
    ("archive-room", "archive rooms"),
    ("unarchive-room", "take rooms out of the archive"),
    ("delete-message", "take back messages that moderators elsewhere took back"),
    ("edit-message", "change messages that moderators elsewhere changed"),
];
/// What shadows do, whose roles are user and bot.
const OF_SHADOWS: [(&str, &str); 3] = [
    ("create-personal-access-tokens", "keep a token of their own"),
    ("delete-own-message", "take back what they said"),
    ("create-d", "open direct rooms"),
];
/// The roles of shadows.
const SHADOW_ROLES: [&str; 2] = ["user", "bot"];
/// What lifts the limits of calls.
const BYPASS: &str = "api-bypass-rate-limit";

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// As it must be.
    Ok,
    /// It works, with a disadvantage, or it could not be found out.
    Warning,
    /// It must be changed.
    Failed,
    /// Not looked at, because an earlier step failed.
    Skipped,
}

impl StepOutcome {
    /// The word of the API and the command line.
    pub fn word(self) -> &'static str {
        match self {
            StepOutcome::Ok => "ok",
            StepOutcome::Warning => "warning",
            StepOutcome::Failed => "failed",
            StepOutcome::Skipped => "skipped",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckStep {
    /// What was looked at, such as `version` or `permission create-user`.
    pub name: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What was found, and if something must change, what and where.
    pub message: String,
}

/// All steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// Whether no step failed.
    pub passed: bool,
    /// The steps, in the order in which they were gone through.
    pub steps: Vec<CheckStep>,
}

/// Which Rocket.Chat server to connect. The token is not shown by `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ConnectRocketChat {
    /// The server's address, such as `https://chat.example.org`.
    pub url: String,
    /// A personal access token of the service account.
    pub token: String,
    /// The service account's id. Without it the server is asked whose the token is.
    pub user_id: Option<String>,
}

impl fmt::Debug for ConnectRocketChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRocketChat")
            .field("url", &self.url)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// Whether a server was connected, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RocketChatConnection {
    /// Whether it is connected now: no step failed.
    pub connected: bool,
    /// The steps.
    pub report: CheckReport,
}

/// What was found out by the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// The release.
    pub(crate) release: Option<Release>,
    /// The service account, as its token acts.
    pub(crate) account: Option<Account>,
    /// Its username.
    pub(crate) username: Option<String>,
}

#[derive(Default)]
struct Steps(Vec<CheckStep>);

impl Steps {
    fn add(&mut self, name: impl Into<String>, outcome: StepOutcome, message: impl Into<String>) {
        self.0.push(CheckStep { name: name.into(), outcome, message: message.into() });
    }

    fn skip(&mut self, names: &[&str]) {
        for name in names {
            self.add(*name, StepOutcome::Skipped, "an earlier step failed");
        }
    }

    fn report(self) -> CheckReport {
        let passed = self.0.iter().all(|step| matches!(step.outcome, StepOutcome::Ok | StepOutcome::Warning));
        CheckReport { passed, steps: self.0 }
    }
}

/// Goes through all steps. Without `user_id` it is asked for by the token.
pub(crate) async fn check(client: &Client, token: &str, user_id: Option<&str>) -> (CheckReport, Findings) {
    use StepOutcome::{Failed, Ok as Passed};
    let (mut steps, mut findings) = (Steps::default(), Findings::default());
    let rest = ["token", "roles", "permissions", "rate limits", "streams"];
    match client.info().await {
        Ok(release) => {
            steps.add("reachable", Passed, format!("{} answers as Rocket.Chat", client.address()));
            findings.release = Some(release);
            let outcome = of_release(&mut steps, release);
            if outcome == Failed {
                steps.skip(&rest);
                return (steps.report(), findings);
            }
        }
        Err(error) => {
            let advice = match error {
                RestError::Unreachable { .. } => "check the address, the name service, and that Rocket.Chat runs",
                RestError::Unanswered { .. } => "check that Rocket.Chat runs, and what stands in front of it",
                _ => "check that the address is that of Rocket.Chat itself, as people open it in a browser",
            };
            steps.add("reachable", Failed, format!("{error}; {advice}"));
            steps.skip(&["version"]);
            steps.skip(&rest);
            return (steps.report(), findings);
        }
    }
    let Some((account, me)) = of_token(&mut steps, client, token, user_id).await else {
        steps.skip(&rest[1..]);
        return (steps.report(), findings);
    };
    findings.username = Some(me.username.clone());
    findings.account = Some(account.clone());
    let client = client.as_account(&account);
    of_roles(&mut steps, &me);
    match client.permissions().await {
        Ok(permissions) => of_permissions(&mut steps, &permissions, &me.roles),
        Err(error) => {
            let message = format!("they cannot be read ({error}); what is missing shows itself in the status");
            steps.add("permissions", StepOutcome::Warning, message);
            steps.add("rate limits", StepOutcome::Warning, format!("whether the account has {BYPASS} is not known"));
        }
    }
    of_streams(&mut steps, &client, &account).await;
    (steps.report(), findings)
}

fn of_release(steps: &mut Steps, release: Release) -> StepOutcome {
    let (outcome, message) = if release < OLDEST {
        (StepOutcome::Failed, format!("it is {release}; upgrade Rocket.Chat to {OLDEST} or newer"))
    } else if release > NEWEST {
        let message =
            format!("it is {release}; this program was written for {OLDEST} to {NEWEST} and may meet surprises");
        (StepOutcome::Warning, message)
    } else {
        (StepOutcome::Ok, format!("it is {release}"))
    };
    steps.add("version", outcome, message);
    outcome
}

async fn of_token(steps: &mut Steps, client: &Client, token: &str, user_id: Option<&str>) -> Option<(Account, User)> {
    let account = match user_id {
        Some(user_id) => Ok(Account { user_id: user_id.to_owned(), token: token.to_owned() }),
        None => client.login_by_token(token).await,
    };
    let found = match account {
        Ok(account) => client.as_account(&account).me().await.map(|me| (account, me)),
        Err(error) => Err(error),
    };
    let advice = "make a personal access token as the service account (My Account, Personal Access Tokens, ignoring \
                  two-factor authentication), and give the user id that stands beside it with --user-id";
    match found {
        Ok((account, me)) if me.id == account.user_id && me.active != Some(false) => {
            steps.add("token", StepOutcome::Ok, format!("it is {}'s", me.username));
            Some((account, me))
        }
        Ok(_) => {
            steps.add(
                "token",
                StepOutcome::Failed,
                format!("it belongs to another or a deactivated account; {advice}"),
            );
            None
        }
        Err(RestError::Unauthorized | RestError::Forbidden { .. } | RestError::Refused { .. }) => {
            steps.add("token", StepOutcome::Failed, format!("Rocket.Chat does not accept it; {advice}"));
            None
        }
        Err(error) => {
            steps.add("token", StepOutcome::Failed, format!("{error}; try again"));
            None
        }
    }
}

fn of_roles(steps: &mut Steps, me: &User) {
    let missing: Vec<&str> =
        ["admin", "bot"].into_iter().filter(|role| !me.roles.iter().any(|held| held == role)).collect();
    match missing.is_empty() {
        true => steps.add("roles", StepOutcome::Ok, format!("{} is admin and bot", me.username)),
        false => {
            let message = format!(
                "{} lacks {}; add it in Administration, Users, {}, Edit, Roles",
                me.username,
                missing.join(" and "),
                me.username
            );
            steps.add("roles", StepOutcome::Failed, message);
        }
    }
}

fn of_permissions(steps: &mut Steps, permissions: &[PermissionRoles], roles: &[String]) {
    let held = |wanted: &str, by: &dyn Fn(&str) -> bool| {
        let entry = permissions.iter().find(|permission| permission.id == wanted);
        entry.map(|permission| permission.roles.iter().any(|role| by(role)))
    };
    let of_service = |role: &str| roles.iter().any(|own| own == role);
    let of_shadow = |role: &str| SHADOW_ROLES.contains(&role);
    let service = OF_SERVICE.iter().map(|entry| (entry, "admin", held(entry.0, &of_service)));
    let shadows = OF_SHADOWS.iter().map(|entry| (entry, "user", held(entry.0, &of_shadow)));
    for ((permission, purpose), role, outcome) in service.chain(shadows) {
        let name = format!("permission {permission}");
        match outcome {
            Some(true) => steps.add(name, StepOutcome::Ok, format!("to {purpose}")),
            Some(false) => {
                let message = format!("needed to {purpose}; tick {permission} for the role {role} in {PERMISSIONS}");
                steps.add(name, StepOutcome::Failed, message);
            }
            None => steps.add(name, StepOutcome::Warning, format!("this release does not list it (to {purpose})")),
        }
    }
    match (held(BYPASS, &of_service), held(BYPASS, &of_shadow)) {
        (Some(true), Some(true)) => {
            steps.add("rate limits", StepOutcome::Ok, "lifted for the service account and shadows")
        }
        _ => {
            let message = format!(
                "Rocket.Chat takes 10 calls a minute of each kind, so that messages come late; tick {BYPASS} for the role \
                 bot in {PERMISSIONS}"
            );
            steps.add("rate limits", StepOutcome::Warning, message);
        }
    }
}

async fn of_streams(steps: &mut Steps, client: &Client, account: &Account) {
    let tried = timeout(STREAMS, try_streams(client.address(), account, RealtimeTuning::default())).await;
    let tried = tried.unwrap_or_else(|_| Err(ClosedReason::Unreachable("no answer in time".to_owned())));
    match tried {
        Ok(()) => steps.add("streams", StepOutcome::Ok, "what happens is heard as it happens"),
        Err(reason) => {
            let message = format!(
                "{reason}; what stands in front of Rocket.Chat must let websockets through at {}websocket",
                client.address()
            );
            steps.add("streams", StepOutcome::Failed, message);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rocketmesh_standin::{Options, Standin, Version};

    use super::*;

    fn outcomes(report: &CheckReport, outcome: StepOutcome) -> Vec<&str> {
        report.steps.iter().filter(|step| step.outcome == outcome).map(|step| step.name.as_str()).collect()
    }

    async fn checked(roles: &[&str], version: Version) -> (CheckReport, Findings) {
        let standin = Standin::start(Options { version, ..Options::default() }).await.unwrap();
        let account = standin.add_account("bridge", roles).unwrap();
        let client = Client::open(&standin.url()).unwrap();
        check(&client, &account.token, Some(&account.user_id)).await
    }

    #[tokio::test]
    async fn a_service_account_as_it_must_be_passes_on_every_release() {
        for version in Version::ALL {
            let (report, findings) = checked(&["admin", "bot"], version).await;
            assert!(report.passed, "{:?}", report.steps);
            assert_eq!(outcomes(&report, StepOutcome::Warning), [""; 0], "{:?}", report.steps);
            assert_eq!(findings.username.as_deref(), Some("bridge"));
            assert!(findings.release.is_some() && findings.account.is_some());
        }
    }

    #[tokio::test]
    async fn each_missing_thing_says_what_to_change_and_where() {
        let (report, _) = checked(&["user"], Version::default()).await;
        assert!(!report.passed);
        let failed = outcomes(&report, StepOutcome::Failed);
        for name in ["roles", "permission create-user", "permission edit-other-user-info", "permission remove-user"] {
            assert!(failed.contains(&name), "{name} is not in {failed:?}");
        }
        assert!(!failed.contains(&"permission create-c"), "{failed:?}");
        assert_eq!(outcomes(&report, StepOutcome::Warning), ["rate limits"]);
        let said = |name: &str| report.steps.iter().find(|step| step.name == name).unwrap().message.as_str();
        assert!(said("roles").contains("Administration, Users, bridge"), "{}", said("roles"));
        let create = said("permission create-user");
        assert!(create.contains("create-user for the role admin in Administration, Permissions"), "{create}");
    }

    #[tokio::test]
    async fn the_token_tells_whose_it_is() {
        let standin = Standin::start(Options::default()).await.unwrap();
        let account = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let client = Client::open(&standin.url()).unwrap();
        let (report, findings) = check(&client, &account.token, None).await;
        assert!(report.passed, "{:?}", report.steps);
        assert_eq!(findings.account.unwrap().user_id, account.user_id);
    }

    #[tokio::test]
    async fn a_wrong_token_ends_the_check_and_is_not_told_again() {
        let standin = Standin::start(Options::default()).await.unwrap();
        let account = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let client = Client::open(&standin.url()).unwrap();
        for user_id in [None, Some(account.user_id.as_str())] {
            let (report, findings) = check(&client, "wrong-token", user_id).await;
            assert_eq!(outcomes(&report, StepOutcome::Failed), ["token"]);
            assert!(outcomes(&report, StepOutcome::Skipped).contains(&"streams"));
            assert!(findings.account.is_none());
            assert!(!format!("{report:?}").contains("wrong-token"));
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_ends_the_check_at_once() {
        let standin = Standin::start(Options::default()).await.unwrap();
        let client = Client::open(&standin.url()).unwrap();
        standin.stop().await;
        let (report, _) = check(&client, "token", None).await;
        assert_eq!(outcomes(&report, StepOutcome::Failed), ["reachable"]);
        assert_eq!(outcomes(&report, StepOutcome::Skipped).len(), report.steps.len() - 1);
    }

    #[test]
    fn releases_that_are_too_old_fail_and_newer_ones_are_warned_of() {
        let outcome = |major, minor| of_release(&mut Steps::default(), Release { major, minor });
        assert_eq!(outcome(6, 13), StepOutcome::Failed);
        assert_eq!(outcome(7, 0), StepOutcome::Ok);
        assert_eq!(outcome(8, 8), StepOutcome::Ok);
        assert_eq!(outcome(9, 0), StepOutcome::Warning);
    }

    #[test]
    fn a_request_does_not_show_its_token() {
        let request = ConnectRocketChat { url: "http://x".to_owned(), token: "secret".to_owned(), user_id: None };
        assert!(!format!("{request:?}").contains("secret"));
    }
}
