//! Which shard a document belongs to, which nodes hold a shard, whom to ask: pure decisions.
