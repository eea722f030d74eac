//! Who is in a direct room, on both sides: everybody whom it is with, on whatever server, and nobody else.
//!
//! Rocket.Chat knows a direct room by who is in it, and leaves out names that it does not know without a word. A room of three that one
//! is left out of would be the room of the other two, who would read there what was said among three. So it is made whole or not at
//! all, and nobody comes into it later: Rocket.Chat lets nobody into a direct room.

use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::Membership;
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_protocol::limits::MAX_DIRECT;

use super::{Bridge, FederateError, Stall};
use crate::rocketchat::client::Room;
use crate::rocketchat::mapping::Who;

/// The most people in a direct room: whoever makes it, and whom it is with.
const MOST: usize = MAX_DIRECT + 1;
/// How many of them its name says.
const NAMED: usize = 4;

/// The people of a direct room, in an order that is always the same.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Those of this server.
    pub(super) own: Vec<Localpart>,
    /// Those of others.
    pub(super) elsewhere: Vec<UserId>,
}

impl Bridge {
    /// Who is in a direct room of Rocket.Chat. None if one of them is nobody in the mesh, such as a bot: it does not go along then.
    pub(super) async fn company_of(&self, room: &Room) -> Result<Option<Company>, Stall> {
        let mut company = Company::default();
        if room.uids.len() > MOST {
            return Ok(None);
        }
        for id in &room.uids {
            match self.who_is(id).await? {
                Some(Who::Local(user)) => company.own.push(user),
                Some(Who::Shadow(user)) => company.elsewhere.push(user),
                Some(Who::Service) | None => return Ok(None),
            }
        }
        Ok(Some(company))
    }

    /// Who an account is, met if it was not; none if there is none.
    async fn who_is(&self, id: &str) -> Result<Option<Who>, Stall> {
        if self.records.account(id)?.is_none()
            && let Some(user) = self.client.user_by_id(id).await?
        {
            self.meet(Some(&user.id), &user.username).await?;
        }
        Ok(self.records.account(id)?.map(|account| account.who()))
    }

    /// Who is in a direct room of the mesh beside somebody: those elsewhere first, and of them those who have come.
    pub(super) fn company_in(&self, state: &RoomState, beside: &UserId) -> Vec<UserId> {
        let invited = state.others().filter(|(_, now)| *now == Membership::Invite).map(|(other, _)| other);
        let all = state.joined().chain(invited).filter(|other| other != beside);
        let (elsewhere, own): (Vec<UserId>, Vec<UserId>) = all.partition(|other| other.origin != self.engine.origin);
        elsewhere.into_iter().chain(own).collect()
    }

    /// Makes the direct room of somebody of this server with others, or finds it; the first of them is elsewhere. As the account of that
    /// one, which is who reads it.
    pub(super) async fn make_direct(&self, username: &str, others: &[UserId]) -> Result<(Room, String), FederateError> {
        let none = || FederateError::Kind("a direct room, for which accounts of people elsewhere have to be made here");
        let (first, rest) = others.split_first().ok_or_else(none)?;
        if first.origin == self.engine.origin {
            return Err(none());
        }
        let (id, own) = self.shadow(first).await?.ok_or_else(none)?;
        let mut names = vec![username.to_owned()];
        for other in rest {
            let name = match other.origin == self.engine.origin {
                true => self.local_username(&other.localpart).await?,
                false => Some(self.shadow(other).await?.ok_or_else(none)?.1),
            };
            // Nobody of this server is called so, so that nobody reads it as them either.
            names.extend(name);
        }
        let client = self.log_in(first, &id, &own).await?;
        let made = client.create_direct(&names).await;
        let room = self.heed(&client, made)??;
        // A name that the server does not know is left out, without a word.
        match names.into_iter().find(|name| !room.usernames.contains(name)) {
            Some(missing) => Err(FederateError::Nobody(missing)),
            None => Ok((room, id)),
        }
    }

    async fn local_username(&self, user: &Localpart) -> Result<Option<String>, Stall> {
        if self.records.local(user)?.is_none() {
            self.meet(None, user.as_str()).await?;
        }
        let id = self.records.local(user)?;
        let account = id.map(|id| self.records.account(&id)).transpose()?.flatten();
        Ok(account.map(|account| account.username))
    }
}

/// What a direct room with these people is called.
pub(super) fn called(others: &[UserId]) -> String {
    let names: Vec<&str> = others.iter().take(NAMED).map(|other| other.localpart.as_str()).collect();
    let more = if others.len() > NAMED { " and others" } else { "" };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rocketmesh_protocol::identity::Origin;

    use super::*;

    #[test]
    fn a_direct_room_is_called_by_a_few_who_are_in_it() {
        let people = |number: usize| -> Vec<UserId> {
            let user = |at: usize| UserId {
                origin: Origin::from_bytes([3; 32]),
                localpart: format!("p{at}").parse().unwrap(),
            };
            (0..number).map(user).collect()
        };
        assert_eq!(called(&people(1)), "p0");
        assert_eq!(called(&people(4)), "p0, p1, p2, p3");
        assert_eq!(called(&people(5)), "p0, p1, p2, p3 and others");
    }
}
