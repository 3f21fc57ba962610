//! `miroir`.
fn main() {}
