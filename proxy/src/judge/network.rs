//! What a client may ask only where it has switched the feature `network` on. Nodes have it on always, because the merge reads
//! values that only it shows (MEILISEARCH C), so it is judged here.

use miroir_api::features::NETWORK;
use miroir_api::Error;
use miroir_net::Request;
use serde_json::Value;

use crate::core::App;
use crate::multi_search::inside;

impl App {
    /// The refusal of a request that needs the feature, where its client has not switched it on.
    ///
    /// Error: nobody can say whether it is on.
    pub async fn network_is_off(&self, request: &Request) -> Result<Option<Error>, Error> {
        // Older ones do not say which query of a federated search it is.
        let says_where = self.newest().lowest_version() >= (1, 16, 0);
        match refusal(request, says_where) {
            Some(refusal) if !self.shared.control.has_feature("network").await? => {
                Ok(Some(refusal))
            }
            _ => Ok(None),
        }
    }
}

/// What Meilisearch says without the feature to the first member that needs it.
fn refusal(request: &Request, says_where: bool) -> Option<Error> {
    let off = |what: &str| NETWORK.refusal(what);
    if request.method.as_str() == "GET" {
        let mut names = form_urlencoded::parse(request.query().as_bytes());
        return names
            .any(|(name, _)| name == "useNetwork")
            .then(|| off(USE));
    }
    let body: Value = serde_json::from_slice(&request.body).ok()?;
    let Some(queries) = body.get("queries").and_then(Value::as_array) else {
        return needs(&body).map(off);
    };
    let mut refusals = queries.iter().enumerate().filter_map(|(position, query)| {
        let refusal = off(needs(query)?);
        Some(match says_where {
            true => inside(position, refusal),
            false => refusal,
        })
    });
    refusals.next()
}

/// What in a query needs the feature.
fn needs(query: &Value) -> Option<&'static str> {
    let given = |member: &Value| !member.is_null();
    let option = |name| query["federationOptions"].get(name).is_some_and(given);
    if query.get("useNetwork").is_some_and(given) {
        Some(USE)
    } else if option("remote") {
        Some(REMOTE_SEARCH)
    } else if option("queryPosition") {
        Some("Using `federationOptions.queryPosition`")
    } else {
        None
    }
}

/// Also what a node without the feature calls our header.
pub const REMOTE_SEARCH: &str = "Performing a remote federated search";
const USE: &str = "passing `useNetwork` in a search query";
