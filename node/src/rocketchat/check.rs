//! Is everything at Rocket.Chat as it must be? One step after the other, each with what to change where it is not.
//!
//! Nothing is changed by looking: versions, roles and permissions are read, and a connection for what happens is opened and
//! closed again.

mod accounts;

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

/// The permission to make accounts for people elsewhere.
const CREATE_USER: &str = "create-user";
/// The permission to speak under another name, which is all that is left where no accounts may be made.
const IMPERSONATE: &str = "message-impersonate";

/// Who has to have a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// The service account.
    Service,
    /// The accounts that stand for people elsewhere.
    Shadows,
    /// Each of them.
    Both,
}

/// A permission that the connector's calls take.
#[derive(Clone, Copy, Debug)]
struct Need {
    permission: &'static str,
    holder: Holder,
    /// The role that is to be given it.
    role: &'static str,
    purpose: &'static str,
    /// What comes of it where it is missing and the rest goes on all the same; none where rooms would not be what they are elsewhere.
    without: Option<&'static str>,
}

/// What rooms need to be the same here as elsewhere.
const fn must(permission: &'static str, purpose: &'static str) -> Need {
    Need { permission, holder: Holder::Service, role: "admin", purpose, without: None }
}

/// What only a part is lost without.
const fn part(permission: &'static str, purpose: &'static str, without: &'static str) -> Need {
    Need { permission, holder: Holder::Service, role: "admin", purpose, without: Some(without) }
}

impl Need {
    const fn of(self, holder: Holder, role: &'static str) -> Self {
        Need { holder, role, ..self }
    }
}

/// What the connector's calls take, as whom they are made.
const NEEDS: &[Need] = &[
    part(
        CREATE_USER,
        "make the accounts that stand for people elsewhere",
        "what people elsewhere say comes from the service account, with their name as alias and an avatar of its own; their \
         reactions are not shown, and they stand in no list of members",
    ),
    part(
        IMPERSONATE,
        "say under somebody's name what they said before they were muted or the room was closed",
        "such messages wait in the queue",
    )
    .of(Holder::Service, "bot"),
    part("edit-other-user-info", "keep their names as they are elsewhere", "they keep the names that they had first"),
    part("edit-other-user-avatar", "keep their pictures as they are elsewhere", "they have no pictures"),
    part(
        "view-full-other-user-info",
        "tell people from bots",
        "what a bot here says goes to other servers as if a person said it",
    ),
    part("create-c", "make channels", "rooms can only be entered into channels that are there"),
    part("create-p", "make private groups", "private rooms can only be entered into groups that are there"),
    part("create-d", "open direct rooms", "nobody hears why something was undone, and no direct rooms begin elsewhere")
        .of(Holder::Both, "bot"),
    part(
        "view-c-room",
        "find channels that it is not in",
        "it has to be invited into each before anything is done with it",
    ),
    part(
        "view-privileged-setting",
        "read the address under which people open the server",
        "links begin with the address of the connection",
    ),
    must("add-user-to-any-c-room", "add people to channels"),
    must("add-user-to-joined-room", "add people to private groups"),
    must("remove-user", "remove people from rooms"),
    must(BAN_USER, "ban people from rooms and let them in again"),
    must("mute-user", "silence people in rooms"),
    must("edit-room", "change names and topics of rooms"),
    must("delete-message", "take back messages that moderators elsewhere took back"),
    must("edit-message", "change messages that moderators elsewhere changed"),
    part(
        "force-delete-message",
        "take back messages also where deleting is switched off",
        "there they stay on this server",
    ),
    part(
        "bypass-time-limit-edit-and-delete",
        "change and take back messages that are older than the server's limits",
        "such messages stay as they are on this server",
    )
    .of(Holder::Both, "bot"),
    part("post-readonly", "say, react and take back in read-only rooms", "what belongs there waits in the queue"),
    part("set-owner", "make people owners of rooms", "owners elsewhere are none here"),
    part("set-moderator", "make people moderators of rooms", "moderators elsewhere are none here"),
    part("set-leader", "make people leaders of rooms", "leaders elsewhere are none here"),
    part("set-readonly", "make rooms read-only", "a room that is read-only elsewhere may not be so here"),
    part("archive-room", "archive rooms", "a room that is archived elsewhere stays open here"),
    part("unarchive-room", "take rooms out of the archive", "a room that was archived stays so here"),
    part("create-personal-access-tokens", "keep a token of their own", "they log in again whenever a login ends")
        .of(Holder::Shadows, "user"),
    part("delete-own-message", "take back what they said", "the service account does it, and is named for it")
        .of(Holder::Shadows, "user"),
    part("leave-c", "leave channels", "the service account removes them, and is named for it")
        .of(Holder::Shadows, "user"),
    part("leave-p", "leave private groups", "the service account removes them, and is named for it")
        .of(Holder::Shadows, "user"),
];
/// The permission that is of use only where the release has bans.
const BAN_USER: &str = "ban-user";
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

/// Why a release is none that this program works with; none if it is. Later minor releases of the newest one change little.
pub(crate) fn unsupported(release: Release) -> Option<String> {
    if release < OLDEST {
        Some(format!("Rocket.Chat is {release}, and the oldest release that is known to work is {OLDEST}"))
    } else if release.major > NEWEST.major {
        Some(format!("Rocket.Chat is {release}, and this program was written for {OLDEST} to {NEWEST}"))
    } else {
        None
    }
}

/// Goes through all steps. Without `user_id` it is asked for by the token.
pub(crate) async fn check(client: &Client, token: &str, user_id: Option<&str>) -> (CheckReport, Findings) {
    use StepOutcome::{Failed, Ok as Passed};
    let (mut steps, mut findings) = (Steps::default(), Findings::default());
    let rest = ["token", "roles", "permissions", "rate limits", "accounts", "streams"];
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
        Ok(permissions) => {
            let granted = Granted { permissions: &permissions, roles: &me.roles };
            of_permissions(&mut steps, &granted, findings.release.is_none_or(Release::has_bans));
        }
        Err(error) => {
            let message = format!("they cannot be read ({error}); what is missing shows itself in the status");
            steps.add("permissions", StepOutcome::Warning, message);
            steps.add("rate limits", StepOutcome::Warning, format!("whether the account has {BYPASS} is not known"));
        }
    }
    accounts::of_accounts(&mut steps, &client).await;
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

/// Which roles have which permissions, and which roles the service account has.
struct Granted<'a> {
    permissions: &'a [PermissionRoles],
    roles: &'a [String],
}

impl Granted<'_> {
    /// Whether whoever has to have it has a permission; none if the server does not know of it.
    fn has(&self, permission: &str, holder: Holder) -> Option<bool> {
        let entry = self.permissions.iter().find(|entry| entry.id == permission)?;
        let service = || entry.roles.iter().any(|role| self.roles.contains(role));
        let shadows = || entry.roles.iter().any(|role| SHADOW_ROLES.contains(&role.as_str()));
        Some(match holder {
            Holder::Service => service(),
            Holder::Shadows => shadows(),
            Holder::Both => service() && shadows(),
        })
    }
}

fn of_permissions(steps: &mut Steps, granted: &Granted<'_>, bans: bool) {
    for need in NEEDS.iter().filter(|need| bans || need.permission != BAN_USER) {
        let Need { permission, holder, purpose, .. } = *need;
        let (outcome, message) = match granted.has(permission, holder) {
            Some(true) => (StepOutcome::Ok, format!("to {purpose}")),
            Some(false) => of_missing(need, granted),
            None => (StepOutcome::Warning, format!("this release does not list it (to {purpose})")),
        };
        steps.add(format!("permission {permission}"), outcome, message);
    }
    match granted.has(BYPASS, Holder::Both) {
        Some(true) => steps.add("rate limits", StepOutcome::Ok, "lifted for the service account and shadows"),
        _ => {
            let message = format!(
                "Rocket.Chat takes 10 calls a minute of each kind, so that messages come late; tick {BYPASS} for the role \
                 bot in {PERMISSIONS}"
            );
            steps.add("rate limits", StepOutcome::Warning, message);
        }
    }
}

fn of_missing(need: &Need, granted: &Granted<'_>) -> (StepOutcome, String) {
    let Need { permission, role, purpose, without, .. } = *need;
    let tick = format!("tick {permission} for the role {role} in {PERMISSIONS}");
    // Where no accounts are made either, nothing that people elsewhere say could come at all.
    let last_way = permission == IMPERSONATE && granted.has(CREATE_USER, Holder::Service) == Some(false);
    match without {
        Some(without) if !last_way => {
            (StepOutcome::Warning, format!("needed to {purpose}; without it {without}; {tick}"))
        }
        Some(_) => {
            let message = format!("without it and {CREATE_USER} nothing that people elsewhere say can come; {tick}");
            (StepOutcome::Failed, message)
        }
        None => (StepOutcome::Failed, format!("needed to {purpose}; {tick}")),
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

    use rocketmesh_standin::{Options, Standin, Version, Wish};

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
        for name in ["roles", "permission remove-user", "permission edit-message", "permission message-impersonate"] {
            assert!(failed.contains(&name), "{name} is not in {failed:?}");
        }
        let warned = outcomes(&report, StepOutcome::Warning);
        for name in ["permission create-user", "permission edit-other-user-info", "rate limits"] {
            assert!(warned.contains(&name), "{name} is not in {warned:?}");
        }
        assert!(outcomes(&report, StepOutcome::Ok).contains(&"permission create-c"), "{:?}", report.steps);
        let said = |name: &str| report.steps.iter().find(|step| step.name == name).unwrap().message.as_str();
        assert!(said("roles").contains("Administration, Users, bridge"), "{}", said("roles"));
        let create = said("permission create-user");
        assert!(create.contains("create-user for the role admin in Administration, Permissions"), "{create}");
    }

    #[tokio::test]
    async fn each_permission_that_is_taken_away_is_told_in_a_line_of_its_own() {
        let standin = Standin::start(Options::default()).await.unwrap();
        let account = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let client = Client::open(&standin.url()).unwrap();
        let permit = |permission: &str, roles: Option<Vec<String>>| {
            standin.wish(Wish::Permit { permission: permission.to_owned(), roles }).unwrap();
        };
        for need in NEEDS {
            permit(need.permission, Some(Vec::new()));
            let (report, _) = check(&client, &account.token, Some(&account.user_id)).await;
            permit(need.permission, None);
            let amiss: Vec<_> = report.steps.iter().filter(|step| step.outcome != StepOutcome::Ok).collect();
            let [step] = amiss.as_slice() else { panic!("{}: {amiss:?}", need.permission) };
            assert_eq!(step.name, format!("permission {}", need.permission));
            let tick = format!("tick {} for the role {} in {PERMISSIONS}", need.permission, need.role);
            assert!(step.message.contains(need.purpose) && step.message.ends_with(&tick), "{step:?}");
            assert_eq!(report.passed, need.without.is_some(), "{step:?}");
        }
    }

    #[tokio::test]
    async fn without_accounts_people_elsewhere_speak_through_the_service_account_unless_that_may_not_either() {
        let standin = Standin::start(Options::default()).await.unwrap();
        let account = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let client = Client::open(&standin.url()).unwrap();
        let take = |permission: &str| {
            standin.wish(Wish::Permit { permission: permission.to_owned(), roles: Some(Vec::new()) }).unwrap();
        };
        take(CREATE_USER);
        let (report, _) = check(&client, &account.token, Some(&account.user_id)).await;
        assert!(report.passed, "{:?}", report.steps);
        let told = report.steps.iter().find(|step| step.outcome == StepOutcome::Warning).unwrap();
        assert!(told.message.contains("alias") && told.message.contains("avatar"), "{told:?}");
        take(IMPERSONATE);
        let (report, _) = check(&client, &account.token, Some(&account.user_id)).await;
        assert_eq!(outcomes(&report, StepOutcome::Failed), ["permission message-impersonate"]);
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
        let named = |major, minor| unsupported(Release { major, minor }).is_some();
        assert!(named(6, 13) && named(9, 0));
        assert!(!named(7, 0) && !named(8, 8) && !named(8, 9));
    }

    #[test]
    fn a_request_does_not_show_its_token() {
        let request = ConnectRocketChat { url: "http://x".to_owned(), token: "secret".to_owned(), user_id: None };
        assert!(!format!("{request:?}").contains("secret"));
    }
}
