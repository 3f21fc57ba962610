//! Who may ask: decided on the core, from the keys in its routing table.

use miroir_api::Error;
use miroir_auth::routes::{allowed, find, Found};
use miroir_auth::{Access, Keyring};
use miroir_net::Response;
use time::OffsetDateTime;

/// What is to become of a request.
pub enum Gate {
    /// It may go on, and see this much.
    Open(Access),
    /// There is no such route: answered at once, whoever asks.
    Closed(Response),
}

/// Checks `Authorization` against what the route needs; `path` without the query string.
///
/// Errors: Meilisearch's 401 and 403.
pub fn admit(
    keys: &Keyring,
    method: &str,
    path: &str,
    authorization: Option<&str>,
) -> Result<Gate, Error> {
    match find(method, path) {
        Found::Route { needs, index } => {
            let now = OffsetDateTime::now_utc();
            let access = keys.authorise(needs, index.as_deref(), authorization, now)?;
            Ok(Gate::Open(access))
        }
        Found::WrongMethod => {
            let refusal = Response::empty(405).header("Allow", allowed(path));
            Ok(Gate::Closed(refusal))
        }
        Found::Unknown => Ok(Gate::Closed(Response::empty(404))),
    }
}
