//! The bytes that cases work on: made up, of the size and shape of films, the same in every run.

use std::fmt::Write;

use bytes::Bytes;
use miroir_router::{shard_code, shard_of};

/// The head of a search as SDKs send it.
pub fn request_head() -> Bytes {
    Bytes::from_static(
        b"POST /indexes/movies/search HTTP/1.1\r\nHost: localhost:7700\r\nUser-Agent: Meilisearch JavaScript (v0.44.0)\r\n\
          Authorization: Bearer 3d6c5b1c0b0b4f7ba6d3a1f0a6e1c1d2\r\nContent-Type: application/json\r\nAccept: */*\r\n\
          Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nX-Request-Id: 0190d2f3-7c5a-7b1e-9a55-0f4c5a2f7d11\r\n\
          Content-Length: 46\r\n\r\n",
    )
}

/// Answers of `nodes` nodes with `hits` hits each, best first, as nodes send them when asked for details.
pub fn answers(nodes: usize, hits: usize) -> Vec<Bytes> {
    (0..nodes)
        .map(|node| Bytes::from(answer(node, nodes, hits)))
        .collect()
}

/// A JSON payload of so many documents.
pub fn payload(documents: usize) -> Vec<u8> {
    let mut body = String::from("[");
    for id in 0..documents {
        if id > 0 {
            body.push(',');
        }
        body.push('{');
        film(&mut body, id);
        body.push('}');
    }
    body.push(']');
    body.into_bytes()
}

fn answer(node: usize, nodes: usize, hits: usize) -> String {
    let mut body = String::from("{\"hits\":[");
    for rank in 0..hits {
        let id = rank * nodes + node;
        if rank > 0 {
            body.push(',');
        }
        let code = shard_code(shard_of(id.to_string().as_bytes(), 16));
        let _ = write!(body, "{{\"_miroir_shard\":\"{code}\",");
        film(&mut body, id);
        // A node that answers alone is asked for none.
        if nodes > 1 {
            details(&mut body, id);
        }
        body.push('}');
    }
    let _ = write!(
        body,
        "],\"query\":\"dark knight\",\"processingTimeMs\":2,\"limit\":{hits},\"offset\":0,\"estimatedTotalHits\":{},\
         \"facetDistribution\":{{\"genre\":{{\"Action\":{},\"Comedy\":{},\"Drama\":{}}},\"year\":{{\"1999\":3,\"2008\":{}}}}},\
         \"facetStats\":{{\"year\":{{\"min\":1928.0,\"max\":2011.0}}}}}}",
        hits * 7,
        100 + node,
        60 + node,
        240 + node,
        5 + node
    );
    body
}

/// About 400 bytes, as in DESIGN 11.
fn film(body: &mut String, id: usize) {
    let genre = ["Action", "Comedy", "Drama"][id % 3];
    let _ = write!(
        body,
        "\"id\":{id},\"title\":\"The Dark Knight \\\"{id}\\\"\",\"genre\":\"{genre}\",\"year\":{},\"rating\":{}.{},\
         \"director\":\"Andr\u{e9} T\u{e9}chin\u{e9}\",\"tags\":[\"night\",\"city\",\"mask\"],\"overview\":\"A man who has lost everything \
         to the city puts on a mask and learns that whoever fights what lives in the dark has to live there too; number {id} of a \
         series that does not know how to end, and would not if it did.\",\"gross\":{{\"us\":{},\"world\":{}}}",
        1928 + id % 90,
        id % 10,
        id % 7,
        id * 7919 % 1_000_000,
        id * 104_729 % 10_000_000,
    );
}

/// Falling with the id, with ties, as the rules of a real answer.
fn details(body: &mut String, id: usize) {
    let _ = write!(
        body,
        ",\"_rankingScore\":0.{:04},\"_rankingScoreDetails\":{{\"words\":{{\"order\":0,\"matchingWords\":{words},\"maxMatchingWords\":2,\
         \"score\":{words}.0}},\"typo\":{{\"order\":1,\"typoCount\":{typos},\"maxTypoCount\":2,\"score\":0.66}},\"proximity\":{{\"order\":2,\
         \"score\":0.{:03}}},\"attribute\":{{\"order\":3,\"attributeRankingOrderScore\":1.0,\"queryWordDistanceScore\":0.9,\
         \"score\":0.98}},\"exactness\":{{\"order\":4,\"matchType\":\"noExactMatch\",\"matchingWords\":1,\"maxMatchingWords\":2,\"score\":0.33}}}}",
        9999 - id.min(9000),
        999 - id / 4 % 900,
        words = if id < 400 { 2 } else { 1 },
        typos = id / 100 % 3,
    );
}
