//! The head of a node's answer: a node that has gone mad must not take a core with it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use miroir_net::head::{parse_response_head, Framing, HeadScanner};

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let Ok(Some(length)) = HeadScanner::default().find(input, 2048) else {
        return;
    };
    let to_head = first & 1 == 1;
    let Ok(head) = parse_response_head(&Bytes::copy_from_slice(&input[..length]), to_head) else {
        return;
    };
    assert!((100..=599).contains(&head.status));
    if to_head || head.status == 204 || head.status == 304 || head.status < 200 {
        assert_eq!(head.framing, Framing::None);
    }
    if head.framing == Framing::UntilClose {
        assert!(
            !head.keep_alive,
            "the end of the body is the end of the connection"
        );
    }
});
