//! `rocketmesh config`

use rocketmesh_node::api::types::ConfigView;

use crate::cmd::Context;
use crate::failure::Failure;
use crate::output::table;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let answer = context.client()?.get(&["config"]).await?;
    context.output.show(&answer, |config: ConfigView| {
        table(["KEY", "VALUE", "FROM"], config.entries.into_iter().map(|entry| [entry.key, entry.value, entry.source]))
    })
}
