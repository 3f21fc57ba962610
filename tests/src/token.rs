//! Keys and tenant tokens as clients make them: written out here, not taken from the code under test.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{json, Map, Value};
use sha2::Sha256;

/// The text of the API key with this uid under a master key.
pub fn api_key(master_key: &str, uid: &str) -> String {
    let digest = signature(master_key, uid.to_ascii_lowercase().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token signed with `key`, the text of the key `uid`; `exp`: seconds since 1970.
pub fn tenant_token(key: &str, uid: &str, rules: &Value, exp: Option<i64>) -> String {
    let mut claims = Map::new();
    claims.insert("searchRules".into(), rules.clone());
    claims.insert("apiKeyUid".into(), json!(uid));
    if let Some(exp) = exp {
        claims.insert("exp".into(), json!(exp));
    }
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "HS256", "typ": "JWT" }));
    let signed = format!("{header}.{}", part(Value::Object(claims)));
    let signature = URL_SAFE_NO_PAD.encode(signature(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn signature(key: &str, message: &[u8]) -> Vec<u8> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
