//! The laboratory: an internet of routers and hosts on one machine, real nodes in it, and what happens to them when something
//! breaks. Linux only, since it is made of network namespaces and nftables. `docs/lab.md` shows it and explains the table.
//!
//! | module | what it is for |
//! |---|---|
//! | [`topology`] | which sites and hosts there are, their addresses, how pairs ought to meet |
//! | [`orders`] | what `ip` and `nft` are told for that |
//! | [`ground`] | the orders carried out, and everything taken away again |
//! | [`addresses`] | where nodes listen and whom they are told of |
//! | [`node`] | a node in its namespace |
//! | [`stage`] | a laboratory that stands |
//! | [`paths`] | how nodes say that they are connected |
//! | [`meeting`] | who met whom, when and how |
//! | [`talk`] | who said what, and when it was there |
//! | [`rows`] | what is done to the laboratory and measured after it |
//! | [`upnp`] | a router that forwards ports, in a small internet of its own |
//! | [`report`] | the result, and its table |
//! | [`aims`] | what the result ought to be |

pub mod addresses;
pub mod aims;
pub mod ground;
pub mod meeting;
pub mod node;
pub mod orders;
pub mod paths;
pub mod report;
pub mod rows;
pub mod stage;
pub mod talk;
pub mod topology;
pub mod upnp;
