//! A world in which everything fails, and the shipped decisions have to cope.
//!
//! Nodes apply what they accepted later; they are killed, emptied, replaced, stand still and are cut off. Requests are
//! slow, lost, answered to nobody, or land after they were given up. The proxy dies at every step and starts again from
//! its store. Meanwhile clients write and search, and the layout changes. Everything that is decided is decided by the
//! code that ships: `movement`, and the layouts, plans and quorum of `router`. `invariants` says what must hold.
//!
//! A seed decides everything, so a failure is replayed by its seed: `miroir-sim --seed N --trace`.
#![forbid(unsafe_code)]

mod document;
mod faults;
mod history;
mod invariants;
mod lane;
mod network;
mod node;
mod proxy;
mod random;
mod runtime;
mod store;
mod world;

pub use world::{run, Outcome, Rules};
