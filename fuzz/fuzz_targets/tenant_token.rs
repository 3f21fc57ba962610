//! Tenant tokens: whatever is presented is let in with the rules that were signed, or refused with 401 or 403.
//!
//! A first byte of 0 presents the rest as it is; any other signs it: header and claims with a zero byte between them.
#![no_main]

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use miroir_auth::routes::Needs;
use miroir_auth::{derive, Action, IndexPattern, Key, Keyring};
use sha2::Sha256;
use time::OffsetDateTime;
use uuid::Uuid;

const MASTER: &str = "MASTER_KEY";
const NOW: OffsetDateTime = time::macros::datetime!(2027-01-15 08:00 UTC);

fuzz_target!(|input: &[u8]| {
    let [mode, rest @ ..] = input else {
        return;
    };
    let key = Key {
        uid: Uuid::nil(),
        name: None,
        description: None,
        actions: vec![Action::Search],
        indexes: vec![IndexPattern::all()],
        expires_at: None,
        created_at: NOW,
        updated_at: NOW,
    };
    let text = match mode {
        0 => String::from_utf8_lossy(rest).into_owned(),
        _ => signed(rest, &derive(MASTER, key.uid)),
    };
    let ring = Keyring::new(Some(MASTER.to_owned()), [&key]);
    let header = format!("Bearer {text}");
    match ring.authorise(Needs::One(Action::Search), Some("films"), Some(&header), NOW) {
        Ok(access) => {
            assert!(access.sees("films") && !access.may_create("films"));
            let mut filter = Some("own = 1".into());
            access.restrict("films", &mut filter);
            let filter = filter.expect("a client's filter stays");
            assert!(filter == "own = 1" || filter[0] == "own = 1");
        }
        Err(error) => assert!(matches!(error.status, 401 | 403)),
    }
});

fn signed(parts: &[u8], key: &str) -> String {
    let mut parts = parts.splitn(2, |byte| *byte == 0);
    let mut part = || URL_SAFE_NO_PAD.encode(parts.next().unwrap_or_default());
    let message = format!("{}.{}", part(), part());
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(message.as_bytes());
    format!(
        "{message}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}
