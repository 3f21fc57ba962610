//! Requests to addresses that clients name.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::networks::Networks;

/// Speaks to allowed addresses only, and follows no redirections.
pub fn outgoing(allowed: Networks, timeout: Duration) -> ureq::Agent {
    ureq::AgentBuilder::new()
        .timeout(timeout)
        .redirects(0)
        .resolver(Guard(allowed))
        .user_agent("Meilisearch")
        .build()
}

/// Whether a request failed because its address may not be spoken to.
pub fn is_refused(error: &ureq::Transport) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::PermissionDenied)
}

/// Resolves names, and lets only addresses through that may be spoken to.
struct Guard(Networks);

impl ureq::Resolver for Guard {
    fn resolve(&self, netloc: &str) -> io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<SocketAddr> = netloc.to_socket_addrs()?.collect();
        let any = !addresses.is_empty();
        addresses.retain(|address| self.0.allows(address.ip()));
        match any && addresses.is_empty() {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(addresses),
        }
    }
}
