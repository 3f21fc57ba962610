//! Filters of clients: rewritten once and for all, and nothing lost on the way.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use miroir_router::rewrite_not_equal;

fuzz_target!(|input: &[u8]| {
    let Ok(filter) = std::str::from_utf8(input) else {
        return;
    };
    let Cow::Owned(rewritten) = rewrite_not_equal(filter) else {
        return;
    };
    assert!(
        matches!(rewrite_not_equal(&rewritten), Cow::Borrowed(_)),
        "{rewritten}"
    );
    // Taking away what was put in gives back what was there; spaces may be among it.
    let bare = |text: &str| text.replace(' ', "").replace("NOT", "").replace('!', "");
    assert_eq!(bare(filter), bare(&rewritten));
});
