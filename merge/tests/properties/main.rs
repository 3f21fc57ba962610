//! What must hold for any input, checked against plain code over serde_json trees.

mod distinct;
mod federated;
mod json;
mod merging;
mod mixing;
mod splitting;
mod totals;
