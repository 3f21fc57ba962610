//! All keys, and the one place where a presented one is checked.

use std::fmt;
use std::sync::Arc;

use miroir_api::Error;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::access::Access;
use crate::action::{Action, ActionSet, IndexScope};
use crate::key::{derive, digest, Key};
use crate::pattern::IndexPattern;
use crate::routes::Needs;
use crate::token::{SearchRules, TokenError, Unverified};

/// A snapshot of all keys, as a core checks them. The default has no master key: everything but `/keys` is open.
#[derive(Default)]
pub struct Keyring {
    master_key: Option<String>,
    keys: Vec<Entry>,
}

struct Entry {
    uid: Uuid,
    digest: [u8; 32],
    actions: ActionSet,
    indexes: Arc<[IndexPattern]>,
    expires_at: Option<OffsetDateTime>,
}

/// What a request presents: the text after `Bearer `, if there is such a header.
pub type Presented<'h> = Option<&'h str>;

/// Reads an `Authorization` header; as Meilisearch, `Bearer` is written with this case and one space.
///
/// Errors: 401 `missing_authorization_header` for another scheme, 403 `invalid_api_key` for a scheme without a key.
pub fn bearer(header: Option<&str>) -> Result<Presented<'_>, Error> {
    let Some(header) = header else {
        return Ok(None);
    };
    let (scheme, token) = match header.split_once(' ') {
        Some((scheme, token)) => (scheme, Some(token)),
        None => (header, None),
    };
    if scheme != "Bearer" {
        return Err(missing_header());
    }
    token.map(Some).ok_or_else(invalid_key)
}

/// Checks a header against one key that opens everything, as `/_miroir/` has it; `None` leaves it open.
pub fn check_single_key(key: Option<&str>, header: Option<&str>) -> Result<(), Error> {
    let Some(key) = key else {
        return Ok(());
    };
    match bearer(header)? {
        None => Err(missing_header()),
        Some(presented) if same(presented, key) => Ok(()),
        Some(_) => Err(invalid_key()),
    }
}

impl Keyring {
    pub fn new<'k>(master_key: Option<String>, keys: impl IntoIterator<Item = &'k Key>) -> Self {
        let entry = |key: &Key| Entry {
            uid: key.uid,
            digest: digest(master_key.as_deref().unwrap_or_default(), key.uid),
            actions: ActionSet::of(&key.actions),
            indexes: key.indexes.clone().into(),
            expires_at: key.expires_at,
        };
        let keys = match &master_key {
            Some(_) => keys.into_iter().map(entry).collect(),
            None => Vec::new(),
        };
        Keyring { master_key, keys }
    }

    pub fn master_key(&self) -> Option<&str> {
        self.master_key.as_deref()
    }

    /// The uid of the key with this text, compared in constant time with every key.
    pub fn uid_of(&self, text: &str) -> Option<Uuid> {
        self.find(text).map(|entry| entry.uid)
    }

    /// The uid that a path names, by itself or by the key's text. Error: 404 `api_key_not_found`.
    pub fn resolve(&self, name: &str) -> Result<Uuid, Error> {
        Uuid::parse_str(name)
            .ok()
            .or_else(|| self.uid_of(name))
            .ok_or_else(|| Key::not_found(name))
    }

    /// Decides about a request. `index`: the one that its path names. `header`: `Authorization` as it came.
    ///
    /// Errors: Meilisearch's 401 `missing_authorization_header` and `missing_master_key`, 403 `invalid_api_key`.
    pub fn authorise(
        &self,
        needs: Needs,
        index: Option<&str>,
        header: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Access, Error> {
        let (first, second) = match needs {
            Needs::Nothing => return Ok(Access::everything()),
            Needs::One(action) => (action, None),
            Needs::Both(first, second) => (first, Some(second)),
        };
        let presented = bearer(header)?;
        if let Some(action) = second {
            self.check(presented, action, index, now)?;
        }
        self.check(presented, first, index, now)
    }

    fn check(
        &self,
        presented: Presented<'_>,
        action: Action,
        index: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Access, Error> {
        use Action::*;
        let Some(master_key) = &self.master_key else {
            let of_keys = matches!(action, KeysGet | KeysCreate | KeysUpdate | KeysDelete);
            return if of_keys {
                Err(missing_master_key())
            } else {
                Ok(Access::everything())
            };
        };
        let text = presented.ok_or_else(missing_header)?;
        if same(text, master_key) {
            return Ok(Access::everything());
        }
        let (entry, rules) = self.identify(master_key, text, action, now)?;
        let access = Access::of_key(
            Arc::clone(&entry.indexes),
            entry.allows(IndexesCreate, None, now),
        );
        let access = match rules {
            Some(rules) => access.with_rules(rules),
            None => access,
        };
        if let Some(index) = index {
            check_index(&access, index)?;
        }
        if entry.allows(action, index, now) {
            Ok(access)
        } else {
            Err(invalid_key())
        }
    }

    /// The key that `text` is, or that signed the tenant token that it is.
    fn identify(
        &self,
        master_key: &str,
        text: &str,
        action: Action,
        now: OffsetDateTime,
    ) -> Result<(&Entry, Option<SearchRules>), Error> {
        if matches!(action, Action::Search | Action::ChatCompletions) {
            match Unverified::read(text) {
                Ok(token) => {
                    let uid = token.key_uid();
                    let claims = token.verify(&derive(master_key, uid)).map_err(refusal)?;
                    if let Some(exp) = claims.exp {
                        check_expiry(exp, now.unix_timestamp())?;
                    }
                    let entry = self.keys.iter().find(|entry| entry.uid == uid);
                    return Ok((entry.ok_or_else(invalid_key)?, Some(claims.search_rules)));
                }
                Err(TokenError::NotAToken) => {}
                Err(undecodable) => return Err(refusal(undecodable)),
            }
        }
        Ok((self.find(text).ok_or_else(invalid_key)?, None))
    }

    /// Looks at every key, whichever it is: the time taken tells nothing.
    fn find(&self, text: &str) -> Option<&Entry> {
        let presented = from_hex(text)?;
        self.keys.iter().fold(None, |found, entry| {
            match bool::from(entry.digest.ct_eq(&presented)) {
                true => Some(entry),
                false => found,
            }
        })
    }
}

impl Entry {
    /// Whether the key may do this, on this index where the path names one (`meilisearch-auth/src/lib.rs`,
    /// `is_key_authorized`).
    fn allows(&self, action: Action, index: Option<&str>, now: OffsetDateTime) -> bool {
        let somewhere = self.indexes.iter().any(IndexPattern::is_all)
            || match index {
                Some(index) => self.indexes.iter().any(|pattern| pattern.matches(index)),
                None => action.scope() == IndexScope::Handler && !self.indexes.is_empty(),
            };
        self.actions.has(action) && somewhere && self.expires_at.is_none_or(|end| now < end)
    }
}

/// The token's own list may be told to who holds it; the key behind it may not.
fn check_index(access: &Access, index: &str) -> Result<(), Error> {
    if let Some(rules) = access.rules() {
        if !rules.allows(index) {
            return Err(forbidden(format!(
                "The provided tenant token cannot acces the index `{index}`, allowed indexes are {:?}.",
                rules.patterns()
            )));
        }
        if !access.key_sees(index) {
            return Err(forbidden(format!(
                "The API key used to generate this tenant token cannot acces the index `{index}`."
            )));
        }
    }
    if !access.key_sees(index) {
        return Err(forbidden(format!(
            "The API key cannot acces the index `{index}`, authorized indexes are {:?}.",
            access.key_patterns()
        )));
    }
    Ok(())
}

fn check_expiry(exp: i64, now: i64) -> Result<(), Error> {
    if now <= exp {
        return Ok(());
    }
    Err(forbidden(format!(
        "Tenant token expired. Was valid up to `{exp}` and we're now `{now}`."
    )))
}

fn refusal(error: TokenError) -> Error {
    match error {
        TokenError::NotAToken => invalid_key(),
        TokenError::Undecodable(why) => forbidden(format!("Could not decode tenant token, {why}.")),
    }
}

fn same(presented: &str, key: &str) -> bool {
    presented.as_bytes().ct_eq(key.as_bytes()).into()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok()?;
    }
    Some(bytes)
}

fn forbidden(message: impl Into<String>) -> Error {
    Error::auth(403, "invalid_api_key", message)
}

pub(crate) fn invalid_key() -> Error {
    forbidden("The provided API key is invalid.")
}

fn missing_header() -> Error {
    Error::auth(
        401,
        "missing_authorization_header",
        "The Authorization header is missing. It must use the bearer authorization method.",
    )
}

fn missing_master_key() -> Error {
    Error::auth(
        401,
        "missing_master_key",
        "Meilisearch is running without a master key. To access this API endpoint, you must have set a master key at \
         launch.",
    )
}

/// Secrets are not shown.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("master_key", &self.master_key.is_some())
            .field("keys", &self.keys.len())
            .finish()
    }
}
