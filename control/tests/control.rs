//! The control plane over scripted nodes. The real engine is exercised by the whole-system tests.
#![forbid(unsafe_code)]

#[path = "control/cluster.rs"]
mod cluster;
#[path = "control/fake.rs"]
mod fake;
#[path = "control/fleet.rs"]
mod fleet;
#[path = "control/keys.rs"]
mod keys;
#[path = "control/managing.rs"]
mod managing;
#[path = "control/returning.rs"]
mod returning;
#[path = "control/starting.rs"]
mod starting;
#[path = "control/writing.rs"]
mod writing;
