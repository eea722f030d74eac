//! What the server does when it is asked to: each rule as a method of [`State`](crate::state::State), without any form of REST
//! or DDP around it.

pub(crate) mod changes;
pub(crate) mod history;
pub(crate) mod members;
pub(crate) mod mentions;
pub(crate) mod messages;
pub(crate) mod rooms;
pub(crate) mod settings;
pub(crate) mod uploads;
pub(crate) mod users;
