//! Other servers of a room, as one server tells them to another.

use crate::codec::Value;
use crate::identity::Origin;
use crate::limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_CONTACT, MAX_CONTACTS};
use crate::wire::{WireError, shape};

/// A server and where it may be reached. Nothing in it is proven: whoever dials finds out who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The server.
    pub server: Origin,
    /// Its addresses, as libp2p writes them in bytes, without the server at the end; at most
    /// [`MAX_ADDRESSES_PER_CONTACT`] of at most [`MAX_ADDRESS_BYTES`] each.
    pub addresses: Vec<Vec<u8>>,
}

pub(super) fn value(contacts: &[Contact]) -> Value {
    let contact = |contact: &Contact| {
        let addresses = contact.addresses.iter().map(|address| address.as_slice().into()).collect();
        Value::List(vec![contact.server.as_bytes().as_slice().into(), Value::List(addresses)])
    };
    Value::List(contacts.iter().map(contact).collect())
}

pub(super) fn read(value: &Value) -> Result<Vec<Contact>, WireError> {
    let contacts = value.as_list().filter(|list| list.len() <= MAX_CONTACTS);
    let contacts = contacts.ok_or(shape("response", "contacts are no list, or too many"))?;
    contacts.iter().map(contact).collect::<Option<_>>().ok_or(shape("response", "no server with its addresses"))
}

fn contact(value: &Value) -> Option<Contact> {
    let [server, addresses] = value.as_list()? else { return None };
    let server = Origin::from_bytes(server.as_bytes()?.try_into().ok()?);
    let addresses = addresses.as_list().filter(|list| list.len() <= MAX_ADDRESSES_PER_CONTACT)?;
    let address = |value: &Value| value.as_bytes().filter(|bytes| bytes.len() <= MAX_ADDRESS_BYTES).map(<[u8]>::to_vec);
    Some(Contact { server, addresses: addresses.iter().map(address).collect::<Option<_>>()? })
}
