//! Whom to ask and whom to write to: pure functions of a layout.

mod read;
mod write;

pub use read::{read_plan, ReadPlan, ReadTarget};
pub use write::{diverged, judge, write_plan, Fate, Verdict, WriteTarget};
