//! The protocol's bounds. Those on events are part of the room version: servers that disagree about one disagree
//! about which events exist.

/// The largest header block, in bytes, signature included.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The largest body block, in bytes. Larger content is a file that a message names.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The longest sender, state key, kind or server name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest localpart of a user, in bytes. With the `@`, the colon and the 52 characters of an origin it stays below
/// [`MAX_NAME_BYTES`], so that every user fits a state key.
pub const MAX_LOCALPART_BYTES: usize = 190;

/// The most timeline tips, and the most state tips, that an event may name.
pub const MAX_PARENTS: usize = 16;

/// Lamport times, sequence numbers and clock times stay below 2^53, so that every JSON implementation can hold them.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Random bytes at the start of each body, so that the hash left behind by an erased body cannot be guessed.
pub const SALT_BYTES: usize = 16;

/// Random bytes in a create event, so that two rooms never share an id.
pub const NONCE_BYTES: usize = 16;

/// The largest gossip message: a header, a body and their framing.
pub const MAX_GOSSIP_BYTES: usize = MAX_HEADER_BYTES + MAX_BODY_BYTES + 16;

/// The largest ephemeral message, in bytes. One with the longest name of a user takes some 460.
pub const MAX_EPHEMERAL_BYTES: usize = 512;

/// How far the clocks of two servers may be apart, in milliseconds, for ephemeral traffic to be taken. It decides about nothing else.
pub const MAX_CLOCK_SKEW_MS: u64 = 2 * 60 * 1000;

/// How long a sign of typing may hold, in milliseconds. It is renewed by typing on.
pub const MAX_TYPING_MS: u64 = 30 * 1000;

/// How long it may hold whether somebody is there, in milliseconds. Their server renews it for as long as it is there itself.
pub const MAX_PRESENCE_MS: u64 = 15 * 60 * 1000;

/// How long a read mark may be under way, in milliseconds.
pub const MAX_READ_MS: u64 = 60 * 1000;

/// The largest request between two servers, in bytes. A have-vector of 5,000 servers fits.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// The largest response between two servers, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// How many bytes of events a response carries before it says that there are more. Leaves room for one event of any size
/// and for the have-vector beside it.
pub const RESPONSE_EVENT_BUDGET: usize = 2 * 1024 * 1024;

/// How many bytes of events an answer to stretches of chains carries before it says that there are more. Several such answers
/// of a room are under way at once, and what one brings may have to wait for another.
pub const BROUGHT_EVENT_BUDGET: usize = 512 * 1024;

/// The most stretches of chains in one request: as many as events are asked for at a time.
pub const MAX_STRETCHES_PER_REQUEST: usize = 1024;

/// The most rooms of which the answer to a comparison holds entries; of the others it holds digests of sections, which are fewer
/// values to read.
pub const MAX_ROOMS_SKETCHED: usize = 1000;

/// The most event ids in one request.
pub const MAX_IDS_PER_REQUEST: usize = 512;

/// The most events of the end of a timeline in one answer: several screens of a chat, which a server that has just joined has
/// within one round trip, and a small part of what may wait in a room.
pub const MAX_RECENT_EVENTS: usize = 256;

/// The most servers that an answer to [`Contacts`](crate::wire::Request::Contacts) names.
pub const MAX_CONTACTS: usize = 16;
/// The most addresses of each of them.
pub const MAX_ADDRESSES_PER_CONTACT: usize = 8;
/// The longest of these in bytes. One through a relay that has a name takes some 100.
pub const MAX_ADDRESS_BYTES: usize = 192;

/// The most events that one server hands to another unasked in one request. They are what was just said; more is pulled.
pub const MAX_EVENTS_PER_TELL: usize = 64;

/// How many bytes of events such a request carries at most, so that it stays below [`MAX_REQUEST_BYTES`].
pub const TELL_EVENT_BUDGET: usize = 768 * 1024;

/// The most events in one response.
pub const MAX_EVENTS_PER_RESPONSE: usize = 4096;

/// The most rooms in one comparison of digests.
pub const MAX_ROOMS_PER_REQUEST: usize = 4096;

/// The most servers in one have-vector.
pub const MAX_ORIGINS: usize = 10_000;

/// With more tips than this in a lane, member servers join them by merge events once nobody else does.
pub const MERGE_ABOVE: usize = 8;

/// The most entries of state of kinds that this version does not know that count for one server in a room: far more than what later
/// versions and other programs set for a server and its users, and some megabyte of state.
pub const MAX_UNKNOWN_KEYS: u32 = 4096;

/// The most profiles that count for one server in a room: each is of one of its users.
pub const MAX_PROFILES: u32 = 65_536;

/// The most users that a direct room is with, beside its maker.
pub const MAX_DIRECT: usize = 16;

/// The most state events, and the most bytes of them, that a server reads of a room that it is only invited to.
pub const MAX_PREVIEW_EVENTS: usize = 100_000;
/// See [`MAX_PREVIEW_EVENTS`].
pub const MAX_PREVIEW_BYTES: usize = 64 * 1024 * 1024;
/// The most files that one message names.
pub const MAX_FILES_PER_MESSAGE: usize = 10;

/// The largest file, in bytes: 64 GiB. What a server takes is up to its administrator, and less. The list of those ranges of a
/// file that have come stays below 8 KiB.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// The longest media type of a file, in bytes: two names of 127 and a slash, by RFC 6838.
pub const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// The greatest width and height that a picture or film may claim, in pixels.
pub const MAX_PIXELS: u32 = 1_000_000;

/// The bytes under one leaf of the tree whose root is a file's hash: BLAKE3's chunk. Ranges of files begin at multiples of it.
pub const FILE_CHUNK_BYTES: u64 = 1024;

/// The most bytes of a file in one answer, and how many a server asks for at a time.
pub const FILE_RANGE_BYTES: u64 = 1024 * 1024;

/// The largest slice, in bytes: its file's size, the range, and 64 for each inner node of the tree above it: fewer than its
/// chunks, and those on the ways down to its two ends.
pub const MAX_SLICE_BYTES: usize = 8 + FILE_RANGE_BYTES as usize + 64 * (1024 + 2 * 54);
