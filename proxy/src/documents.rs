//! Documents: reads from one copy of each shard, writes to all copies.

pub mod add;
pub mod delete;
pub mod edit;
pub mod read;
pub mod write;
