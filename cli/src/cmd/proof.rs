//! `rocketmesh verify-room`, `rocketmesh rooms retention`

use std::time::Duration;

use rocketmesh_node::api::types::{Retention, RetentionView, RoomProof, ServerProof};

use crate::args::rooms::{Keep, RetentionArgs, VerifyRoomArgs};
use crate::cmd::rooms::gap_line;
use crate::cmd::{Context, room_id};
use crate::failure::Failure;
use crate::output::table;
use crate::text::{clean, count, excerpt, short_id};

/// How long a comparison may take: it fetches what is missing.
const VERIFY_TIME: Duration = Duration::from_secs(600);

pub(super) async fn verify_room(context: &Context, args: &VerifyRoomArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let id = room_id(&client, &args.room).await?;
    let waiting = context.output.spinner("comparing with the room's other servers");
    let answer = client.post_within(&["rooms", &id, "verify"], &(), VERIFY_TIME).await;
    waiting.finish_and_clear();
    let answer = answer?;
    let proof: RoomProof = answer.parse()?;
    context.output.show(&answer, people)?;
    if proof.nothing_missing || proof.servers.is_empty() && proof.gap.is_none() {
        return Ok(());
    }
    Err(Failure::failed("not_proven", "it is not proven that nothing is missing; the table says why"))
}

pub(super) async fn retention(context: &Context, args: RetentionArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let id = room_id(&client, &args.room).await?;
    let answer = match args.keep {
        None => client.get(&["rooms", &id, "retention"]).await?,
        Some(Keep(seconds)) => {
            client.put(&["rooms", &id, "retention"], &Retention { seconds: seconds.map(|time| time.as_secs()) }).await?
        }
    };
    context.output.show(&answer, |view: RetentionView| {
        let kept = match view.seconds {
            None => "bodies of this room are kept for ever".to_owned(),
            Some(seconds) => format!("bodies of this room are kept for {}", span(seconds)),
        };
        match view.dropped {
            0 => kept,
            dropped => format!("{kept}; dropped {} that are older", count(dropped, "body").replace("bodys", "bodies")),
        }
    })
}

fn span(seconds: u64) -> String {
    for (length, word) in [(86_400, "day"), (3600, "hour"), (60, "minute")] {
        if seconds >= length && seconds.is_multiple_of(length) {
            return count(seconds / length, word);
        }
    }
    count(seconds, "second")
}

fn people(proof: RoomProof) -> String {
    let mut text = String::new();
    let rows = proof.servers.iter().map(|server| {
        [clean(&excerpt(&server.name.clone().unwrap_or_else(|| short_id(&server.id)), 32)).into_owned(), says(server)]
    });
    if !proof.servers.is_empty() {
        text.push_str(&table(["SERVER", "BESIDE THIS NODE"], rows));
        text.push_str("\n\n");
    }
    let asked = proof.servers.iter().filter(|server| server.state != "not_connected").count();
    let unasked = proof.servers.len() - asked;
    let events = count(proof.events, "event");
    text.push_str(&match (proof.nothing_missing, asked) {
        (_, 0) if proof.servers.is_empty() => format!("{events}; no other server is in this room"),
        (_, 0) => format!("{events}; none of the room's other servers is connected, so nothing is proven"),
        (true, _) => format!("nothing missing: {events}, the same on {} asked", count(asked as u64, "server")),
        (false, _) => format!("{events}; not the same everywhere"),
    });
    if unasked > 0 && asked > 0 {
        text.push_str(&format!("; {} not connected", count(unasked as u64, "server")));
    }
    if let Some(gap) = &proof.gap {
        text.push_str(&format!("\n{}", gap_line(gap)));
    }
    if proof.missing_bodies > 0 {
        text.push_str(&format!("\ntexts that have not come yet: {}", proof.missing_bodies));
    }
    text
}

fn says(server: &ServerProof) -> String {
    match server.state.as_str() {
        "equal" if server.fetched > 0 => format!("the same, now that {} came", count(server.fetched, "event")),
        "equal" => "the same".to_owned(),
        "differs" => format!("missing here: {}, missing there: {}", server.missing_here, server.missing_there),
        "not_connected" => "not connected".to_owned(),
        "not_held" => "does not hold the room".to_owned(),
        _ => clean(server.reason.as_deref().unwrap_or("no answer")).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(state: &str) -> ServerProof {
        ServerProof {
            id: "12D3KooWserver".to_owned(),
            name: Some("b.example".to_owned()),
            state: state.to_owned(),
            fetched: 0,
            missing_here: 2,
            missing_there: 3,
            reason: None,
        }
    }

    #[test]
    fn a_proof_says_that_nothing_is_missing_or_what_is() {
        let proof = |servers: Vec<ServerProof>, nothing_missing| RoomProof {
            room: "bafyr4i".to_owned(),
            events: 7,
            digest: "00".to_owned(),
            nothing_missing,
            gap: None,
            missing_bodies: 0,
            servers,
        };
        let equal = people(proof(vec![server("equal"), server("not_connected")], true));
        assert!(equal.ends_with("nothing missing: 7 events, the same on 1 server asked; 1 server not connected"));
        let differs = people(proof(vec![server("differs")], false));
        assert!(differs.contains("missing here: 2, missing there: 3"), "{differs}");
        assert!(differs.ends_with("not the same everywhere"), "{differs}");
        assert!(people(proof(vec![server("not_connected")], false)).ends_with("so nothing is proven"));
    }

    #[test]
    fn a_span_of_time_is_said_in_the_largest_unit_that_fits() {
        assert_eq!(span(2_592_000), "30 days");
        assert_eq!(span(90), "90 seconds");
        assert_eq!(span(3600), "1 hour");
    }
}
