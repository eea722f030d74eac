//! `rocketmesh backup`

use reqwest::Method;

use crate::args::BackupArgs;
use crate::cmd::Context;
use crate::cmd::download::{Download, SILENCE};
use crate::failure::Failure;

pub(super) async fn run(context: &Context, args: &BackupArgs) -> Result<(), Failure> {
    // It will hold the server's key.
    let download = Download { file: &args.file, force: args.force, secret: true };
    download.refuse_to_overwrite()?;
    let response = context.client()?.open(Method::POST, &["backup"], &(), SILENCE).await?;
    download.save(context, response).await
}
