//! `rocketmesh id`

use rocketmesh_node::api::types::NodeStatus;

use crate::args::IdArgs;
use crate::cmd::Context;
use crate::failure::Failure;

pub(super) async fn run(context: &Context, args: &IdArgs) -> Result<(), Failure> {
    let answer = context.client()?.get(&["node"]).await?;
    context.output.show(&answer, |node: NodeStatus| if args.addresses { node.addresses.join("\n") } else { node.id })
}
