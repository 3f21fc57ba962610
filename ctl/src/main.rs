//! `miroir-ctl`.
fn main() {}
