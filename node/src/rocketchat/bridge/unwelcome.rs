//! People are told when another server does not take their direct room: nothing else tells it from somebody who does not answer.

use rocketmesh_protocol::identity::UserId;

use super::{Bridge, Stall};
use crate::rocketchat::records::Changes;

/// Rooms and servers of which that was told, so that it is told once.
const TOLD: &str = "rc/unwelcome/";

impl Bridge {
    /// Tells people of this server which of their direct rooms another one does not take.
    pub(super) async fn tell_unwelcome(&self) -> Result<(), Stall> {
        for (room, origin) in self.engine.unwelcome() {
            let name = format!("{TOLD}{room}/{origin}");
            let Some(rid) = self.records.rid(&room)? else { continue };
            let Some(federated) = self.records.room(&rid)? else { continue };
            if self.engine.store.record_of(&name)?.is_some() {
                continue;
            }
            let Ok((state, _)) = self.engine.state(room).await else { continue };
            let server = self.engine.names.name(&origin).map_or_else(|| origin.to_string(), |name| name.to_string());
            let words = format!(
                "{server} does not take direct messages from this server until its administrator allows it. What is said in your \
                 direct room with {} waits until then.",
                federated.name
            );
            let own: Vec<UserId> = state.joined_of(self.engine.origin).collect();
            for user in own {
                self.explain(&user.localpart, &words).await;
            }
            let mut changes = Changes::default();
            changes.set(name, &true);
            self.save(&changes).await?;
        }
        Ok(())
    }
}
