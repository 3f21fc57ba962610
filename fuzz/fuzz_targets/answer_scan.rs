//! Answers of nodes: whatever they are, merging them ends in an error or in valid JSON without the hidden field.
//!
//! The first two bytes choose the options; the answers follow, with a zero byte between them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use miroir_merge::{
    merge_documents, merge_facet_search, merge_search, scan_documents, strip_document,
    ByKey, ByWords, DocumentsPage, FacetOrder, FacetSearch, Merged, Paging, Spec,
};
use serde::de::IgnoredAny;

fuzz_target!(|input: &[u8]| {
    let [flags, numbers, answers @ ..] = input else {
        return;
    };
    let answers: Vec<Bytes> = answers
        .split(|byte| *byte == 0)
        .take(8)
        .map(Bytes::copy_from_slice)
        .collect();
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let (skip, take) = (usize::from(numbers & 15), usize::from(numbers >> 4));
    // Under `distinct` the same answers come once more.
    let later = [answers.clone()];
    let again = [ByWords {
        searches: &later,
        levels: None,
    }];
    let spec = Spec {
        paging: match flag(0) {
            true => Paging::Offset {
                offset: skip,
                limit: take,
            },
            false => Paging::Pages {
                page: skip,
                hits_per_page: take,
            },
        },
        max_total_hits: if flag(7) { 3 } else { 1000 },
        cap_totals: flag(7),
        show_score: flag(1),
        show_details: flag(2),
        ranked: flag(3),
        federated: false,
        semantic: false,
        distinct: flag(4).then_some("a.b"),
        primary_key: flag(6).then_some("id"),
        counts: None,
        again: if flag(4) { &again } else { &[] },
        strip_fields: if flag(5) { &["a", "b.c"] } else { &[] }, strip_formatted: if flag(5) { &["a", "b.c"] } else { &[] },
        facet_order: &|field| {
            if field.len() % 2 == 0 {
                FacetOrder::Alpha
            } else {
                FacetOrder::Count
            }
        },
        max_values_per_facet: 2,
        query: "a \"query\"",
        processing_time_ms: 1,
        request_uid: flag(6).then_some("0190"),
    };
    if let Ok(merged) = merge_search(&answers, &spec) {
        // Of a hit not all is read: there a node is trusted to write JSON.
        let is_json = |answer: &Bytes| serde_json::from_slice::<IgnoredAny>(answer).is_ok();
        match answers.iter().all(is_json) {
            true => valid(&merged),
            false => drop(text(&merged)),
        }
    }
    let page = DocumentsPage {
        offset: skip,
        limit: take,
        skip,
        sorted: flag(1),
        by_key: ByKey {
            key: "id",
            first: take,
            cut: flag(4),
        },
        ..DocumentsPage::default()
    };
    if let Ok(merged) = merge_documents(&answers, &page) {
        valid(&merged);
    }
    let facet = FacetSearch {
        query: flag(2).then_some("a"),
        order: if flag(3) {
            FacetOrder::Count
        } else {
            FacetOrder::Alpha
        },
        max_values: take,
    };
    if let Ok(merged) = merge_facet_search(&answers, &facet) {
        valid(&merged);
    }
    for answer in &answers {
        if let Ok(page) = scan_documents(answer) {
            for document in page.results {
                assert!(serde_json::from_slice::<IgnoredAny>(&answer[document]).is_ok());
            }
        }
        if let Ok(merged) = strip_document(answer) {
            valid(&merged);
        }
    }
});

fn text(merged: &Merged) -> String {
    let bytes = merged.to_bytes().to_vec();
    assert_eq!(bytes.len(), merged.len());
    String::from_utf8(bytes).expect("a merged answer is UTF-8")
}

fn valid(merged: &Merged) {
    let text = text(merged);
    // `IgnoredAny` walks without recursion: depth is no error of ours.
    let parsed = serde_json::from_str::<IgnoredAny>(&text);
    assert!(parsed.is_ok(), "{parsed:?}: {text}");
}
