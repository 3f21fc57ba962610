//! What browsers ask before they send (the Fetch standard's CORS protocol), answered as Meilisearch does: any origin, any
//! method, any header. The header that lets a page read an answer is on every answer; `net` writes it.

use miroir_net::{Method, Request, Response};

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, CONNECT, TRACE";
/// Seconds that a browser may remember the permission.
const MAX_AGE: &str = "86400";

/// The answer to a preflight; `None` when the request is none. It needs no key: browsers send none.
pub fn preflight(request: &Request) -> Option<Response> {
    let asked = request.headers.get("access-control-request-method");
    if request.method != Method::OPTIONS || asked.is_none() {
        return None;
    }
    let mut response = Response::empty(200)
        .header("access-control-allow-methods", METHODS)
        .header("access-control-max-age", MAX_AGE);
    if let Some(names) = request.headers.get_str("access-control-request-headers") {
        response = response.header("access-control-allow-headers", names.to_owned());
    }
    Some(response)
}
