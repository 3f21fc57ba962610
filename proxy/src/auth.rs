//! Who may ask: the master key, compared in constant time.

use miroir_api::Error;
use subtle::ConstantTimeEq;

/// Checks `Authorization` against the master key; without a master key every route is open.
///
/// Errors: Meilisearch's 401 `missing_authorization_header` and 403 `invalid_api_key`.
pub fn check(master_key: Option<&str>, authorization: Option<&str>) -> Result<(), Error> {
    let Some(master_key) = master_key else {
        return Ok(());
    };
    let Some(presented) = authorization.and_then(bearer) else {
        return Err(Error::auth(
            401,
            "missing_authorization_header",
            "The Authorization header is missing. It must use the bearer authorization method.",
        ));
    };
    if bool::from(presented.as_bytes().ct_eq(master_key.as_bytes())) {
        Ok(())
    } else {
        Err(Error::auth(
            403,
            "invalid_api_key",
            "The provided API key is invalid.",
        ))
    }
}

/// The token of `Bearer TOKEN`; any other scheme counts as no header, as in Meilisearch.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_master_key_opens() {
        let code = |result: Result<(), Error>| result.err().map(|error| error.code.into_owned());
        assert_eq!(code(check(None, None)), None);
        assert_eq!(code(check(Some("k"), Some("Bearer k"))), None);
        assert_eq!(
            code(check(Some("k"), None)).as_deref(),
            Some("missing_authorization_header")
        );
        assert_eq!(
            code(check(Some("k"), Some("Basic k"))).as_deref(),
            Some("missing_authorization_header")
        );
        assert_eq!(
            code(check(Some("k"), Some("Bearer kk"))).as_deref(),
            Some("invalid_api_key")
        );
    }
}
