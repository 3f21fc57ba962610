//! What HTTP shows of the whole: CORS, compression of answers, slashes, unknown routes.

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{Answer, Call, Target};
use serde_json::{json, Value};

#[test]
fn browsers_and_compressing_clients_are_served() {
    let fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let films: Vec<Value> = (0..200)
        .map(|i| json!({"id": i, "title": format!("a film with a long title, number {i}")}))
        .collect();
    proxy
        .write("POST", "/indexes/films/documents", &json!(films))
        .expect("documents");

    preflights_need_no_key(&proxy);
    // A hot route, a slow one, and an error: all may be read by any page.
    for path in ["/indexes/films/search", "/stats", "/nowhere"] {
        let answer = ask(&proxy, path, &[]);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("content-encoding"), None);
    }
    for (accept, coding) in [("gzip, deflate, br", "gzip"), ("br, gzip;q=0.5", "br")] {
        for path in ["/indexes/films/search?limit=100", "/tasks"] {
            let answer = ask(&proxy, path, &[("accept-encoding", accept)]);
            let length: usize = answer
                .header("content-length")
                .and_then(|length| length.parse().ok())
                .expect("a length");
            // One task is too short to be worth it.
            let coded = path != "/tasks";
            assert_eq!(
                answer.header("content-encoding"),
                coded.then_some(coding),
                "{path}"
            );
            assert!(
                answer
                    .header("vary")
                    .is_some_and(|vary| vary.contains("accept-encoding")),
                "{path}"
            );
            assert!(length < 4096, "{path}: {length} bytes");
        }
    }
    for (path, status) in [
        ("/health/", 200),
        ("//indexes//films/", 200),
        ("/indexes/films/search/?q=film", 200),
        ("/", 200),
        ("/nowhere", 404),
        ("/indexes/films/nowhere/at/all", 404),
    ] {
        let answer = ask(&proxy, path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.body.is_null(), status == 404, "{path}");
    }
    // Meilisearch has no HEAD.
    for (path, status) in [
        ("/indexes/films/search?q=film", 405),
        ("/indexes/films/documents/1", 405),
        ("/indexes", 405),
        ("/health", 405),
        ("/nowhere", 404),
    ] {
        let head = proxy.call(&Call::new("HEAD", path)).expect("an answer");
        assert_eq!((head.status, head.body), (status, Value::Null), "{path}");
    }
    let wrong = proxy
        .call(&Call::new("PATCH", "/health"))
        .expect("an answer");
    assert_eq!(wrong.header("allow"), Some("GET"));
    assert_eq!((wrong.status, wrong.body), (405, Value::Null));
}

fn preflights_need_no_key(proxy: &Target) {
    let mut call = Call::new("OPTIONS", "/indexes/films/search");
    call.anonymous = true;
    call.headers = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let answer = proxy.call(&call).expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization,content-type")
    );
    assert!(answer
        .header("access-control-allow-methods")
        .is_some_and(|methods| methods.contains("PATCH")));
}

fn ask(proxy: &Target, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut call = Call::new("GET", path);
    call.headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    proxy.call(&call).expect("an answer")
}
