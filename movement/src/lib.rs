//! How copies of shards come, are repaired and go: pure decisions and one state machine.
//!
//! Nodes apply writes later than they accept them, answers come late or never, and the proxy can die at any instant.
//! What to do in spite of all that is decided here, without I/O, clock or randomness, so that the simulator (`sim/`)
//! drives the very code that the control plane runs.
//!
//! There is one design for everything that moves (add, drain, remove, replace, other replication factors, repair): the
//! layout that is published says in what state each copy is, and [`work`] says what the layout needs next. Nobody keeps
//! a second list; after a crash, one looks again.
//!
//! - [`Fill`]: makes copies on one node equal to those of another, while writes go on; commands out, events in;
//! - [`Touched`]: what writes changed meanwhile;
//! - [`difference`]: what to copy and what to delete so that one listing becomes the other;
//! - [`Transition`]: the changes of copy states that end a fill, retire what is leaving, and drop what is left over;
//! - [`Layouts`]: a layout as requests see it, while changes of it are on their way to the store;
//! - [`compare`]: which copies of a shard differ from the others, and which of them are right.
#![forbid(unsafe_code)]

mod compare;
mod fill;
mod layouts;
mod listing;
mod touched;
mod transition;
mod work;

pub use compare::{compare, Comparison};
pub use fill::{Command, Event, Fill, Job, Step};
pub use layouts::{mark, Layouts, Mark};
pub use listing::{difference, Difference, Digest, Document, Key};
pub use touched::Touched;
pub use transition::{Moved, Transition};
pub use work::{work, NodeState, Work};
