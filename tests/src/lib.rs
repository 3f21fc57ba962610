//! Whole-system tests: what a client sees of running programs, and nothing else.
//!
//! A proxy that stripes an index promises one thing: a client cannot tell it from one Meilisearch. No unit test can show that, so
//! everything here starts real processes ([`fleet`]), speaks HTTP to them ([`http`]) and compares answers ([`agree`]) of a cluster
//! with those of one node. *What* is asked comes from three places:
//!
//! - [`scenario`]: files in `tests/scenarios/`, data that a newcomer can read and extend without knowing this code, played by [`play`];
//! - [`draw`]: random corpora, settings and searches, and searches of real corpora, judged by [`judge`], counted in [`figures`] and cut
//!   down by [`shrink`] when they disagree;
//! - [`storm`]: writers and searchers that know what they may find, while the test breaks things;
//! - the test files themselves, for what one node cannot show: killed processes, broken framing, the command line.
//!
//! The official SDKs are driven through a [`record`]er, and what they called becomes the table of [`routes`].
//!
//! The programs under test are built beforehand (`cargo build --release`) and found at `target/release/miroir`, or where `MIROIR_BIN`
//! says. `MEILISEARCH_BIN=FILE` makes every node a released Meilisearch instead of the embedded one. `MIROIR_DRIVER` is passed on.

pub mod agree;
pub mod ask;
pub mod compare;
pub mod disk;
pub mod draw;
pub mod figures;
pub mod fleet;
pub mod http;
pub mod judge;
pub mod page;
pub mod play;
pub mod process;
pub mod record;
pub mod relay;
pub mod routes;
pub mod scenario;
pub mod shrink;
pub mod storm;
pub mod token;
pub mod unix;
pub mod volatile;
