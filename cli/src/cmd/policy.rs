//! `rocketmesh policy`

use rocketmesh_node::api::types::{Audience, Policy};

use crate::args::mesh::{PolicyArgs, PolicyCommand, PolicySet, Who};
use crate::client::Client;
use crate::cmd::{Context, known_peers, peer_id};
use crate::failure::Failure;
use crate::output::Fields;
use crate::resolve::{self, Candidate};

pub(super) async fn run(context: &Context, args: PolicyArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let answer = client.get(&["policy"]).await?;
    let answer = match args.command.unwrap_or(PolicyCommand::Show) {
        PolicyCommand::Show => answer,
        PolicyCommand::Set(set) => {
            let mut policy: Policy = answer.parse()?;
            let set = with_full_ids(&client, &policy, set).await?;
            apply(&mut policy, set);
            client.put(&["policy"], &policy).await?
        }
    };
    context.output.show(&answer, people)
}

/// Puts full ids in the place of names and parts of ids.
async fn with_full_ids(client: &Client, policy: &Policy, mut set: PolicySet) -> Result<PolicySet, Failure> {
    for text in &mut set.list_add {
        *text = peer_id(client, text).await?;
    }
    if set.list_remove.iter().any(|text| !resolve::is_peer_id(text)) {
        let known = known_peers(client).await?;
        let name = |id: &String| known.iter().find(|peer| peer.id == *id).and_then(|peer| peer.name.clone());
        // What is taken off the list is looked for on the list, which may hold servers that nobody has met.
        let listed: Vec<Candidate> =
            policy.listed.iter().map(|id| Candidate { id: id.clone(), name: name(id) }).collect();
        for text in set.list_remove.iter_mut().filter(|text| !resolve::is_peer_id(text)) {
            *text = resolve::peer(text, &listed)?;
        }
    }
    Ok(set)
}

fn apply(policy: &mut Policy, set: PolicySet) {
    let choose = |audience: &mut Audience, who: Option<Who>| {
        if let Some(who) = who {
            *audience = Audience::from(who);
        }
    };
    choose(&mut policy.federate, set.federate);
    choose(&mut policy.invite, set.invite);
    choose(&mut policy.direct, set.direct);
    policy.requests_per_minute = set.requests_per_minute.unwrap_or(policy.requests_per_minute);
    policy.events_per_minute = set.events_per_minute.unwrap_or(policy.events_per_minute);
    policy.listed.extend(set.list_add);
    policy.listed.retain(|id| !set.list_remove.contains(id));
    policy.listed.sort_unstable();
    policy.listed.dedup();
}

fn people(policy: Policy) -> String {
    let limit = |limit: u64| if limit == 0 { "no limit of its own".to_owned() } else { limit.to_string() };
    let mut fields = Fields::default();
    fields
        .add("federate", word(policy.federate))
        .add("invite", word(policy.invite))
        .add("direct", word(policy.direct))
        .add("requests per minute", limit(policy.requests_per_minute))
        .add("events per minute", limit(policy.events_per_minute))
        .add_all("listed", policy.listed);
    fields.to_string()
}

fn word(audience: Audience) -> &'static str {
    match audience {
        Audience::Open => "open",
        Audience::Known => "known",
        Audience::Listed => "listed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            federate: Audience::Open,
            invite: Audience::Open,
            direct: Audience::Known,
            listed: vec!["b".to_owned()],
            requests_per_minute: 600,
            events_per_minute: 0,
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let mut changed = policy();
        apply(&mut changed, PolicySet { federate: Some(Who::Listed), ..PolicySet::default() });
        assert_eq!(changed, Policy { federate: Audience::Listed, ..policy() });
    }

    #[test]
    fn the_list_takes_and_loses_servers_and_holds_each_once() {
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<String>>();
        let mut changed = policy();
        apply(&mut changed, PolicySet { list_add: ids(&["c", "a", "b"]), ..PolicySet::default() });
        assert_eq!(changed.listed, ids(&["a", "b", "c"]));
        apply(&mut changed, PolicySet { list_remove: ids(&["b", "z"]), ..PolicySet::default() });
        assert_eq!(changed.listed, ids(&["a", "c"]));
    }
}
