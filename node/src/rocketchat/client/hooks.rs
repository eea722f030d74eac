//! Incoming webhooks: what still speaks in a restricted workspace.

use serde::{Deserialize, Serialize};

use super::{ANSWER, Client, RestError, Url};

/// What is said by an incoming webhook. It answers neither with an id nor with the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Hook {
    /// The text.
    pub(crate) text: String,
    /// The name that is shown.
    pub(crate) alias: String,
    /// The address of the picture that is shown.
    pub(crate) avatar: String,
}

#[derive(Deserialize)]
struct Done {}

impl Client {
    /// Says something by the incoming webhook at this address, which is secret. Not protected against being said twice.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn post_webhook(&self, address: &Url, said: &Hook) -> Result<(), RestError> {
        const ACTION: &str = "hooks";
        // Nobody's token goes with it: the address is what admits.
        let request = self.http.post(address.clone()).timeout(ANSWER).json(said);
        let Done {} = self.send(ACTION, request).await?;
        Ok(())
    }
}
