//! An embedded Meilisearch-compatible node.
