//! What makes no sense is said before anything runs.

use super::{Harm, Joining, Layer, MAX_SERVERS, Members, Scenario, ScenarioError};

/// Whether a region is among these, however it is written.
fn has(regions: &[String], name: &str) -> bool {
    regions.iter().any(|region| region.eq_ignore_ascii_case(name))
}

impl Scenario {
    /// Whether a run could be made of it.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let fail = |field: &str, reason: String| Err(ScenarioError::Invalid { field: field.to_owned(), reason });
        let within = |field: &str, value: f64, most: f64| match (0.0..=most).contains(&value) {
            true => Ok(()),
            false => Err(ScenarioError::Invalid {
                field: field.to_owned(),
                reason: format!("{value} is not between 0 and {most}"),
            }),
        };
        if self.servers < 2 || self.servers > MAX_SERVERS {
            return fail("servers", format!("{} is not between 2 and {MAX_SERVERS}", self.servers));
        }
        let network = &self.network;
        within("network.jitter", network.jitter, 10.0)?;
        within("network.loss", network.loss, 0.5)?;
        within("network.duplicates", network.duplicates, 0.5)?;
        within("network.reordering", network.reordering, 0.5)?;
        within("network.nat", network.nat, 0.95)?;
        if self.layer == Layer::Real && (network.duplicates > 0.0 || network.reordering > 0.0) {
            let reason = "no message comes twice or is overtaken over TCP, which is what the real layer has; take \
                          `layer = \"protocol\"`, or leave `duplicates` and `reordering` out";
            return fail("network", reason.to_owned());
        }
        let modelled = |harm: Harm| matches!(harm, Harm::Lie | Harm::Spoil);
        if let Some(hostile) = self.hostile.iter().find(|hostile| modelled(hostile.what))
            && self.layer == Layer::Real
        {
            let word = hostile.what.word();
            return fail(
                "hostile.what",
                format!("`{word}` is known to the protocol layer only; take `layer = \"protocol\"`"),
            );
        }
        if network.bootstraps == 0 || network.bootstraps > self.servers {
            return fail(
                "network.bootstraps",
                "at least one server, and no more than there are, can be known".to_owned(),
            );
        }
        let cut = self.partitions.iter().flat_map(|cut| &cut.regions);
        let speaking = self.talks.iter().flat_map(|talk| &talk.regions);
        let linked = network.links.iter().flat_map(|link| &link.between);
        for region in network.regions.iter().chain(cut).chain(speaking).chain(linked) {
            if crate::cities::index(region).is_none() {
                let known = crate::cities::names().join(", ");
                return fail("regions", format!("`{region}` is not in the latency table; it has lan, {known}"));
            }
        }
        if network.regions.is_empty() {
            return fail("network.regions", "name at least one region".to_owned());
        }
        within("network.bandwidth", network.bandwidth.iter().map(|line| line.share).sum(), 1.0)?;
        if network.bandwidth.iter().any(|line| line.down_kbps == 0 || line.up_kbps == 0) {
            return fail("network.bandwidth", "a line carries at least 1 kbit/s".to_owned());
        }
        for link in &network.links {
            within("network.link.jitter", link.jitter.unwrap_or(0.0), 10.0)?;
            within("network.link.loss", link.loss.unwrap_or(0.0), 0.5)?;
            if link.kbps == Some(0) {
                return fail("network.link.kbps", "a link carries at least 1 kbit/s".to_owned());
            }
            if let Some(absent) = link.between.iter().find(|name| !has(&network.regions, name)) {
                return fail(
                    "network.link.between",
                    format!("no server is in `{absent}`; name it in `network.regions`"),
                );
            }
        }
        let rooms: Vec<&str> = self.rooms.iter().map(|room| room.name.as_str()).collect();
        for room in &self.rooms {
            if let Members::Some(servers) = room.servers
                && (servers == 0 || servers > self.servers)
            {
                return fail("room.servers", format!("{servers} is not between 1 and {}", self.servers));
            }
            if let Joining::Crowd { share, .. } = room.joined {
                within("room.joined.share", share, 1.0)?;
            }
        }
        let named = self.talks.iter().map(|talk| &talk.room).chain(self.deeds.iter().map(|deed| &deed.room));
        for room in named {
            if !rooms.contains(&room.as_str()) {
                return fail("talk.room", format!("there is no room `{room}`; there are: {}", rooms.join(", ")));
            }
        }
        for talk in &self.talks {
            within("talk.rate", talk.rate, 100_000.0)?;
            if talk.chat.is_none() && talk.rate == 0.0 {
                return fail("talk", "give a rate or a chat".to_owned());
            }
            if talk.bytes > 36_000 {
                return fail("talk.bytes", "at most 36000, since texts vary up to 1.75 times that".to_owned());
            }
        }
        for (field, share, most) in self.shares() {
            within(field, share, most)?;
        }
        self.check_files()?;
        within("hostile", self.hostile.iter().map(|hostile| hostile.share).sum(), 0.5)
    }

    fn shares(&self) -> Vec<(&'static str, f64, f64)> {
        let churn = self.churn.iter().map(|churn| ("churn.share", churn.share, 1.0));
        let crashes = self.crashes.iter().map(|crash| ("crash.share", crash.share, 1.0));
        let slow = self.slow_disk.iter().map(|slow| ("slow_disk.share", slow.share, 1.0));
        let skew = self.clock_skew.iter().map(|skew| ("clock_skew.share", skew.share, 1.0));
        let cuts = self.partitions.iter().map(|cut| ("partition.share", cut.share, 1.0));
        churn.chain(crashes).chain(slow).chain(skew).chain(cuts).collect()
    }
}
