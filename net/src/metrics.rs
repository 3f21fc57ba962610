//! What this crate counts, in the order in which it is shown.

use miroir_metrics::Metric;

use crate::client::{CONNECTS, CONNECT_FAILURES, RECEIVED, SENT};
use crate::server;

/// All of it; each is declared beside the code that counts.
pub const METRICS: &[&dyn Metric] = &[
    &server::OPEN,
    &server::ACCEPTED,
    &server::RECEIVED,
    &server::SENT,
    &CONNECTS,
    &CONNECT_FAILURES,
    &SENT,
    &RECEIVED,
];
