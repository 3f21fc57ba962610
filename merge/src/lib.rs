//! Meilisearch answers as bytes in, one answer as spans out: pure merging and splitting.
