//! Which shard a document belongs to, which nodes hold a shard, whom to ask: pure decisions.
//!
//! Everything a request needs to know about the fleet is decided here, without I/O, clock or randomness, so that a
//! decision can be tested by calling a function, replayed by a simulator and fuzzed. The steps, in a request's order:
//!
//! - [`shard_of`]: primary key -> [`Shard`], frozen by golden vectors; [`shard_code`]: the value of the hidden field;
//! - [`Layout`]: [`Shard`] -> copies on nodes, planned once by [`Layout::plan`] and then *stored*;
//! - [`Publisher`], [`Reader`], [`Pinned`]: how the cores see one [`RoutingTable`] after another, and how the control
//!   plane learns that nobody works on an old one any more;
//! - [`read_plan`], [`write_plan`], [`judge`], [`diverged`]: whom to ask, whom to write to, whether enough of them took it,
//!   and what differs where not;
//! - [`Health`]: whether a node is to be asked at all; [`Replicas`]: which copies are slow, and when to ask a second one;
//! - [`rewrite_not_equal`]: the one operator of Meilisearch's filters that is wrong on a part of an index;
//! - [`Ids::reach`]: which shards can hold what a filter lets through;
//! - [`WordSettings::read`]: the words of a query, where more than one node must decide which of them may be missing.
#![forbid(unsafe_code)]

mod code;
mod filter;
mod health;
mod layout;
mod plan;
mod publish;
mod replicas;
mod shard;
mod sync;
mod table;
mod task_count;
mod words;

pub use code::{parse_shard_code, shard_code, shard_filter, ShardCode, ALPHABET};
pub use filter::{
    and_also, and_shards, rewrite_filter, rewrite_not_equal, told_of_filter, Ids, Reach,
};
pub use health::{Health, HealthRules, NodeState, SharedState};
pub use layout::{CopyState, Layout, LayoutError, LayoutNode, LayoutSpec, Placement};
pub use plan::{
    diverged, judge, read_plan, write_plan, Fate, ReadPlan, ReadTarget, Verdict, WriteTarget,
};
pub use publish::{Pinned, Publisher, Quiesced, Reader};
pub use replicas::{Ended, Policy, Replicas};
pub use shard::{shard_of, NodeIdx, Shard, SHARDS_MAX};
pub use table::{
    covers, displays, Changes, FacetOrder, FilterableRule, ForeignKey, Index, Node, RoutingTable,
    SearchSettings, Version, VERSION_MIN,
};
pub use task_count::{Counted, TaskCount};
pub use words::{Query, Term, TypoSettings, WordSettings, MISSING, UNKNOWN};
