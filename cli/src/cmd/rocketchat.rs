//! `rocketmesh rocketchat`

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use console::Term;
use rocketmesh_node::rocketchat::check::{
    CheckReport, CheckStep, ConnectRocketChat, RocketChatConnection, StepOutcome,
};
use rocketmesh_node::rocketchat::status::{BridgedRoom, ConnectorProblem, RocketChatStatus};

use crate::args::rocketchat::{RocketChatArgs, RocketChatCommand, RocketChatConnectArgs};
use crate::client::Answer;
use crate::cmd::{Context, bridged, queue};
use crate::failure::Failure;
use crate::output::{Fields, table};
use crate::text::{clock, count, short_id};

/// Where scripts may put the token.
const TOKEN_VARIABLE: &str = "ROCKETMESH_ROCKETCHAT_TOKEN";
/// More than any token has; a file that is longer is another one.
const MAX_TOKEN_BYTES: u64 = 4096;
/// How long a check may take whose server answers slowly.
const CHECK: Duration = Duration::from_secs(240);

pub(super) async fn run(context: &Context, args: RocketChatArgs) -> Result<(), Failure> {
    match args.command {
        RocketChatCommand::Connect(args) => connect(context, args).await,
        RocketChatCommand::Check => check(context).await,
        RocketChatCommand::Status => context.output.show(&context.client()?.get(&["rocketchat"]).await?, status),
        RocketChatCommand::Rooms => bridged::rooms(context).await,
        RocketChatCommand::Federate(args) => bridged::federate(context, args).await,
        RocketChatCommand::Unfederate(args) => bridged::unfederate(context, args).await,
        RocketChatCommand::Queue(args) => queue::run(context, args).await,
        RocketChatCommand::Webhook(args) => queue::webhook(context, args).await,
        RocketChatCommand::Disconnect => {
            let client = context.client()?;
            let before: RocketChatStatus = client.get(&["rocketchat"]).await?.parse()?;
            client.delete(&["rocketchat"]).await?;
            context.output.done(match before.url {
                Some(_) => {
                    "disconnected; revoke the service account's token in Rocket.Chat if it is not needed any more"
                }
                None => "no Rocket.Chat server was connected",
            })
        }
    }
}

async fn connect(context: &Context, args: RocketChatConnectArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let token = token(args.service_token_file.as_deref())?;
    let request = ConnectRocketChat { url: args.address, token, user_id: args.user_id };
    let waiting = context.output.spinner("looking at the Rocket.Chat server");
    let answer = client.put_within(&["rocketchat"], &request, CHECK).await;
    waiting.finish_and_clear();
    let answer = answer?;
    let connection: RocketChatConnection = answer.parse()?;
    show(context, &answer, &connection.report)?;
    if !connection.connected {
        return Err(Failure::failed("check_failed", "nothing was connected; change what failed and run this again"));
    }
    context.output.done("connected; `rocketmesh rocketchat status` shows how it does")
}

async fn check(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let waiting = context.output.spinner("looking at the Rocket.Chat server");
    let answer = client.post_within(&["rocketchat", "check"], &(), CHECK).await;
    waiting.finish_and_clear();
    let answer = answer?;
    let report: CheckReport = answer.parse()?;
    show(context, &answer, &report)?;
    if report.passed {
        Ok(())
    } else {
        Err(Failure::failed("check_failed", "not everything is as it must be; the table says what to change"))
    }
}

fn show(context: &Context, answer: &Answer, report: &CheckReport) -> Result<(), Failure> {
    if context.output.is_json() { context.output.json(answer.text()) } else { context.output.text(&steps(report)) }
}

/// The token, from where it was said to be, or from somebody who types it.
fn token(file: Option<&Path>) -> Result<String, Failure> {
    let text = match file {
        Some(path) => secret(path)?,
        None => match env::var(TOKEN_VARIABLE) {
            Ok(text) => text,
            Err(_) => ask()?,
        },
    };
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::Usage {
            code: "no_service_token",
            message: "the service account's token is empty".to_owned(),
        });
    }
    Ok(token.to_owned())
}

/// A secret that stands in a file, or comes from standard input.
pub(super) fn secret(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return read(io::stdin().lock(), path);
    }
    read(fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?, path)
}

fn read(from: impl Read, path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    from.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(|error| Failure::file("read", path, &error))?;
    Ok(text)
}

/// Asks for the token without showing what is typed.
fn ask() -> Result<String, Failure> {
    let terminal = Term::stderr();
    if !io::stdin().is_terminal() || !terminal.is_term() {
        let message = format!(
            "the service account's token is missing: name its file with --service-token-file, or put it into {TOKEN_VARIABLE}"
        );
        return Err(Failure::Usage { code: "no_service_token", message });
    }
    let unread = |error: io::Error| Failure::failed("io", format!("cannot read what is typed: {error}"));
    terminal.write_str("Token of the service account (is not shown): ").map_err(unread)?;
    terminal.read_secure_line().map_err(unread)
}

/// The steps for people. Permissions that are there are one line.
fn steps(report: &CheckReport) -> String {
    let granted = |step: &CheckStep| step.outcome == StepOutcome::Ok && step.name.starts_with("permission ");
    let number = report.steps.iter().filter(|step| granted(step)).count();
    let mut told = false;
    let rows = report.steps.iter().filter_map(|step| {
        if !granted(step) {
            return Some([step.outcome.word().to_owned(), step.name.clone(), step.message.clone()]);
        }
        let first = !std::mem::replace(&mut told, true);
        first.then(|| ["ok".to_owned(), "permissions".to_owned(), format!("{number} are as they must be")])
    });
    table(["RESULT", "STEP", "WHAT"], rows.collect::<Vec<_>>())
}

fn status(status: RocketChatStatus) -> String {
    let Some(url) = &status.url else {
        let mut text =
            "no Rocket.Chat server is connected; `rocketmesh rocketchat connect URL` connects one".to_owned();
        for problem in &status.problems {
            text.push_str(&format!("\n{}", crate::text::clean(&self::problem(problem))));
        }
        return text;
    };
    let queue = &status.queue;
    let oldest = queue.oldest_ms.map(|oldest| format!(", the oldest since {} UTC", clock(oldest))).unwrap_or_default();
    let mut fields = Fields::default();
    fields
        .add("server", url)
        .add_some("version", status.version.as_ref())
        .add_some("account", status.account.as_ref())
        .add("state", format!("{} since {} UTC", status.state.word(), clock(status.since_ms)))
        .add("shadows", status.shadows)
        .add("taken", count(status.taken, "change"))
        .add("delivered", count(status.delivered, "change"))
        .add("waiting", format!("{}{oldest}", count(queue.waiting, "change")))
        .add("refused", count(queue.undeliverable, "change"))
        .add_all(
            "",
            queue.latest_undeliverable.iter().map(|letter| {
                format!(
                    "{}: {} of {} in {}: {}",
                    letter.id,
                    letter.what,
                    short_id(&letter.event),
                    short_id(&letter.room),
                    letter.reason
                )
            }),
        )
        .add_all("problems", status.problems.iter().map(problem));
    let mut text = fields.to_string();
    if !status.rooms.is_empty() {
        text.push('\n');
        text.push_str(&table(["ROOM", "NAME", "STATE", "WAITING"], status.rooms.iter().map(room)));
    }
    text
}

fn room(room: &BridgedRoom) -> [String; 4] {
    // The API's word for it.
    let state = serde_json::to_value(room.state).ok().and_then(|state| state.as_str().map(str::to_owned));
    [
        short_id(&room.room),
        room.name.clone().unwrap_or_default(),
        state.unwrap_or_default().replace('_', " "),
        room.waiting.to_string(),
    ]
}

fn problem(problem: &ConnectorProblem) -> String {
    let subject = problem.subject.as_ref().map(|subject| format!(" ({subject})")).unwrap_or_default();
    format!("{}{subject}: {}; {}", problem.code.code(), problem.message, problem.advice)
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::rocketchat::status::{ConnectorState, ProblemKind};

    use super::*;

    fn step(name: &str, outcome: StepOutcome) -> CheckStep {
        CheckStep { name: name.to_owned(), outcome, message: "what to do".to_owned() }
    }

    #[test]
    fn permissions_that_are_there_take_one_line_and_missing_ones_their_own() {
        let report = CheckReport {
            passed: false,
            steps: vec![
                step("version", StepOutcome::Ok),
                step("permission a", StepOutcome::Ok),
                step("permission b", StepOutcome::Failed),
                step("permission c", StepOutcome::Ok),
            ],
        };
        let text = steps(&report);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("2 are as they must be"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("failed") && line.contains("permission b")), "{text}");
    }

    #[test]
    fn a_status_tells_each_problem_with_what_to_do() {
        let text = status(RocketChatStatus {
            url: Some("https://chat.example.org/".to_owned()),
            state: ConnectorState::Blocked,
            problems: vec![ConnectorProblem {
                code: ProblemKind::RestrictedWorkspace,
                subject: None,
                message: "refused\u{1b}[2J".to_owned(),
                advice: ProblemKind::RestrictedWorkspace.advice().to_owned(),
                since_ms: 0,
                times: 1,
            }],
            ..RocketChatStatus::default()
        });
        assert!(text.contains("restricted_workspace: refused") && text.contains("cloud.rocket.chat"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(status(RocketChatStatus::default()).contains("rocketchat connect URL"));
    }

    #[test]
    fn every_problem_has_a_name_and_an_advice_in_the_status() {
        for code in [
            ProblemKind::Unreachable,
            ProblemKind::UnsupportedVersion,
            ProblemKind::TokenRefused,
            ProblemKind::ShadowTokenRefused,
            ProblemKind::PermissionMissing,
            ProblemKind::RateLimited,
            ProblemKind::RestrictedWorkspace,
            ProblemKind::RoomGone,
            ProblemKind::FileAway,
            ProblemKind::Undeliverable,
            ProblemKind::QueueFull,
            ProblemKind::Overrun,
            ProblemKind::SecretsUnreadable,
        ] {
            let problem = ConnectorProblem {
                code,
                subject: Some("lunch".to_owned()),
                message: "what happened".to_owned(),
                advice: code.advice().to_owned(),
                since_ms: 0,
                times: 1,
            };
            let url = Some("https://chat.example.org/".to_owned());
            let text = status(RocketChatStatus { url, problems: vec![problem], ..RocketChatStatus::default() });
            let line = format!("{} (lunch): what happened; {}", code.code(), code.advice());
            assert!(text.contains(&line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_token_is_read_from_its_file_without_the_line_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        fs::write(&file, " abc\n").expect("writable");
        assert_eq!(token(Some(&file)).expect("it is there"), "abc");
        fs::write(&file, "\n").expect("writable");
        assert_eq!(token(Some(&file)).expect_err("it is empty").exit_code(), 2);
        assert_eq!(token(Some(&directory.path().join("none"))).expect_err("there is none").exit_code(), 1);
    }
}
