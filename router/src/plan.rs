//! Whom to ask and whom to write to: pure functions of a layout.

mod read;
mod write;

pub use read::{read_plan, ReadPlan, ReadTarget};
pub use write::{judge, write_plan, Verdict, WriteTarget};
