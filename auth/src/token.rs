//! Tenant tokens: JSON web tokens (RFC 7519) signed with the text of an API key.
//!
//! A reader of our own: what is needed is HMAC over three lengths and one claims type, while the crates for JWT bring
//! RSA, elliptic curves and PEM with them. Base64 and JSON are read by the same crates that Meilisearch's reader
//! (jsonwebtoken 10) uses, into types of the same shape, so that refusals have its words; clients compare them.
//!
//! The claims name the key that signed, so they are read once before the signature can be checked. Nothing in them is
//! used before.

use std::collections::{HashMap, HashSet};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};
use uuid::Uuid;

use crate::pattern::IndexPattern;

/// Longer texts are no tokens. A head of a request holds no more than this anyway.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// What a token says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    pub search_rules: SearchRules,
    /// Seconds since 1970.
    pub exp: Option<i64>,
    #[serde(deserialize_with = "crate::uuid_text::deserialize")]
    pub api_key_uid: Uuid,
    /// Who the token is for. Nobody can be asked whether it is us, so a token that says so is refused.
    #[serde(default)]
    aud: Option<Value>,
}

/// Which indexes a token opens, and with which filter.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum SearchRules {
    Set(HashSet<IndexPattern>),
    Map(HashMap<IndexPattern, Option<IndexRule>>),
}

/// What a token lays on the searches of an index.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct IndexRule {
    pub filter: Option<Value>,
}

/// Why a text is no valid token.
#[derive(Debug)]
pub enum TokenError {
    /// It has not the form of a token: it may be an API key.
    NotAToken,
    /// Meilisearch's reason, as it stands in "Could not decode tenant token, {}.".
    Undecodable(String),
}

impl TokenError {
    fn json(error: &serde_json::Error) -> Self {
        TokenError::Undecodable(format!("JSON error: {error}"))
    }

    fn base64(error: &base64::DecodeError) -> Self {
        TokenError::Undecodable(format!("Base64 error: {error}"))
    }

    fn named(name: &str) -> Self {
        TokenError::Undecodable(name.to_owned())
    }
}

/// A token that has been read and not yet believed.
pub(crate) struct Unverified<'t> {
    signed: &'t [u8],
    signature: &'t [u8],
    algorithm: Algorithm,
    claims: Claims,
}

impl<'t> Unverified<'t> {
    /// Reads the three parts.
    pub(crate) fn read(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::NotAToken);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotAToken)?;
        let (header, claims) = signed.rsplit_once('.').ok_or(TokenError::NotAToken)?;
        let header: Header = part(header)?;
        Ok(Unverified {
            signed: signed.as_bytes(),
            signature: signature.as_bytes(),
            algorithm: header.alg,
            claims: part(claims)?,
        })
    }

    /// The uid of the key that must have signed it.
    pub(crate) fn key_uid(&self) -> Uuid {
        self.claims.api_key_uid
    }

    /// The claims, if `key` signed them.
    pub(crate) fn verify(self, key: &str) -> Result<Claims, TokenError> {
        let verify = match self.algorithm {
            Algorithm::HS256 => signed_by::<Hmac<Sha256>>,
            Algorithm::HS384 => signed_by::<Hmac<Sha384>>,
            Algorithm::HS512 => signed_by::<Hmac<Sha512>>,
            _ => return Err(TokenError::named("InvalidAlgorithm")),
        };
        let signature = URL_SAFE_NO_PAD
            .decode(self.signature)
            .map_err(|error| TokenError::base64(&error))?;
        if !verify(key.as_bytes(), self.signed, &signature) {
            return Err(TokenError::named("InvalidSignature"));
        }
        if self.claims.aud.as_ref().is_some_and(is_audience) {
            return Err(TokenError::named("InvalidAudience"));
        }
        Ok(self.claims)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
}

/// Every name that the reader knows, in its order: its refusal of another one lists them.
#[derive(Clone, Copy, Deserialize)]
#[allow(clippy::upper_case_acronyms)]
enum Algorithm {
    HS256,
    HS384,
    HS512,
    ES256,
    ES384,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    EdDSA,
}

fn part<T: for<'de> Deserialize<'de>>(encoded: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|error| TokenError::base64(&error))?;
    // Derived readers also take an array for a struct, member by member; a claims set is an object (RFC 7519, 4).
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(TokenError::named(
            "JSON error: invalid type: sequence, expected an object",
        ));
    }
    serde_json::from_slice(&bytes).map_err(|error| TokenError::json(&error))
}

/// Compared in constant time, at full length.
fn signed_by<M: Mac + KeyInit>(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    <M as KeyInit>::new_from_slice(key)
        .map(|mut mac| {
            mac.update(message);
            mac.verify_slice(signature).is_ok()
        })
        .unwrap_or(false)
}

fn is_audience(aud: &Value) -> bool {
    match aud {
        Value::String(_) => true,
        Value::Array(all) => all.iter().all(Value::is_string),
        _ => false,
    }
}

impl SearchRules {
    /// Whether the token opens this index.
    pub fn allows(&self, index: &str) -> bool {
        match self {
            SearchRules::Set(set) => set.iter().any(|pattern| pattern.matches(index)),
            SearchRules::Map(map) => map.keys().any(|pattern| pattern.matches(index)),
        }
    }

    /// Whether it opens all indexes.
    pub fn allows_all(&self) -> bool {
        match self {
            SearchRules::Set(set) => set.iter().any(IndexPattern::is_all),
            SearchRules::Map(map) => map.keys().any(IndexPattern::is_all),
        }
    }

    /// The filter of the pattern that says most about the index: its own name, else the longest prefix.
    pub fn filter(&self, index: &str) -> Option<&Value> {
        let SearchRules::Map(map) = self else {
            return None;
        };
        let (_, rule) = map
            .iter()
            .filter(|(pattern, _)| pattern.matches(index))
            .max_by_key(|(pattern, _)| pattern.precision())?;
        rule.as_ref()?.filter.as_ref()
    }

    /// The patterns in alphabetical order.
    pub fn patterns(&self) -> Vec<&str> {
        let mut all: Vec<&str> = match self {
            SearchRules::Set(set) => set.iter().map(IndexPattern::as_str).collect(),
            SearchRules::Map(map) => map.keys().map(IndexPattern::as_str).collect(),
        };
        all.sort_unstable();
        all
    }
}
