//! The head of a request: found the same way however the bytes arrive, and never parsed into anything ambiguous.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use miroir_net::head::{parse_request_head, Framing, HeadScanner};

const LIMIT: usize = 2048;

fuzz_target!(|input: &[u8]| {
    let whole = HeadScanner::default().find(input, LIMIT);
    let mut scanner = HeadScanner::default();
    let mut piecewise = Ok(None);
    for end in 0..=input.len() {
        piecewise = scanner.find(&input[..end], LIMIT);
        if !matches!(piecewise, Ok(None)) {
            break;
        }
    }
    // A head that has ended is a head, whatever comes after it.
    assert_eq!(whole.as_ref().ok(), piecewise.as_ref().ok());
    let Ok(Some(length)) = whole else { return };
    assert!(length <= input.len() && input[..length].ends_with(b"\r\n\r\n"));

    let Ok(head) = parse_request_head(&Bytes::copy_from_slice(&input[..length])) else {
        return;
    };
    assert!(head.framing != Framing::UntilClose);
    assert!(std::str::from_utf8(&head.target).is_ok());
    assert!(!head
        .target
        .iter()
        .any(|byte| byte.is_ascii_control() || *byte == b' '));
    let lengths = count(&head.headers, "content-length");
    let codings = count(&head.headers, "transfer-encoding");
    match head.framing {
        Framing::Chunked => assert!(codings == 1 && lengths == 0 && !head.http_10),
        Framing::Length(_) => assert!(codings == 0 && lengths >= 1),
        _ => assert!(codings == 0 && lengths == 0),
    }
});

fn count(headers: &miroir_net::Headers, name: &str) -> usize {
    headers
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .count()
}
