//! How Meilisearch speaks: the one place that knows how an error looks, and the names that Miroir reserves.
//!
//! Everything that answers a client (the HTTP codec, the data plane, the control plane, the embedded node) makes its
//! errors here, so that an SDK sees one shape: `{"message","code","type","link"}`. Codes and their status follow
//! Meilisearch 1.50, `crates/meilisearch-types/src/error.rs`; codes that begin with `miroir_` are our own.
#![forbid(unsafe_code)]

pub mod body;
mod edition;
mod error;
pub mod features;
mod scrub;
mod secret;
mod size;
mod socket;
mod template;

pub use edition::{guarded_function, told_of_function};
pub use error::{Error, ErrorType};
pub use scrub::{without_listed, without_shard_field};
pub use secret::hide_secret;
pub use size::{appropriate_size, binary_size, parse_size};
pub use socket::{check_unix_socket, unix_socket};
pub use template::{
    template_as_written, template_for_nodes, template_is_changed, DEFAULT_TEMPLATE,
};

/// The hidden field that every stored document carries: which shard it belongs to (DESIGN 6).
pub const SHARD_FIELD: &str = "_miroir_shard";

/// Stands in a node's `displayedAttributes` between what the client lists and what nodes display besides, for merging: it is cut out
/// of every answer.
pub const ALSO_DISPLAYED: &str = "_miroir_also";

/// Document fields whose names begin so are refused from clients and never shown to them.
pub const RESERVED_PREFIX: &str = "_miroir_";

/// The header, with its value, by which one Meilisearch tells another that it asks on behalf of a client (MEILISEARCH C.1).
pub const PROXY_SEARCH_HEADER: (&str, &str) = ("meili-proxy-search", "true");

/// What an embedded node says instead of the commit that it was built from. Its version is the engine's, which decides how
/// it searches; that it also has routes of later releases shows here.
pub const EMBEDDED: &str = "miroir-embedded";

/// The target of a request to this path, with its query, with slashes as Meilisearch reads them: several count as one, and
/// one at the end as none. `None` where nothing changes.
pub fn plain_target(path: &str, query: &str) -> Option<String> {
    if path.len() < 2 || !(path.ends_with('/') || path.contains("//")) {
        return None;
    }
    let mut plain = String::with_capacity(path.len() + query.len() + 1);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    if plain.is_empty() {
        plain.push('/');
    }
    if !query.is_empty() {
        plain.push('?');
        plain.push_str(query);
    }
    Some(plain)
}

/// Whether this can be an index's name (`meilisearch-types/src/index_uid.rs`: 400 bytes, while its text says 512).
pub fn is_index_uid(uid: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=400).contains(&uid.len()) && uid.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_that_say_nothing_go() {
        let plain = |path, query| plain_target(path, query).unwrap();
        assert_eq!(plain("//indexes/", "a=//b/"), "/indexes?a=//b/");
        assert_eq!(plain("///", ""), "/");
        for path in ["/", "/indexes", "*", ""] {
            assert_eq!(plain_target(path, "x=/"), None, "{path}");
        }
    }
}
