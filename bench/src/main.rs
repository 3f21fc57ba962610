//! `miroir-bench`.
fn main() {}
