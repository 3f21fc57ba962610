//! Every route of Meilisearch 1.50 and the action that it needs: the one list, for what the cores serve and for what the
//! control plane serves. A route that is not here is not served, so that none can be open by oversight.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::action::Action::{self, *};
use Needs::{Both, Nothing, One};

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Open to everybody (or guarded elsewhere, as `/_miroir/` is).
    Nothing,
    One(Action),
    Both(Action, Action),
}

/// What was found for a method and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'p> {
    Route {
        needs: Needs,
        /// The index that the path names, decoded.
        index: Option<Cow<'p, str>>,
    },
    /// The path is one of ours, the method is not.
    WrongMethod,
    Unknown,
}

/// The most frequent first. `{index}` is the index that a key may be limited to, `{}` anything else that varies.
const ROUTES: &[(&str, &str, Needs)] = &[
    ("POST", "/indexes/{index}/search", One(Search)),
    ("GET", "/indexes/{index}/search", One(Search)),
    ("POST", "/multi-search", One(Search)),
    ("GET", "/tasks/{}", One(TasksGet)),
    ("POST", "/indexes/{index}/facet-search", One(Search)),
    ("POST", "/indexes/{index}/similar", One(Search)),
    ("GET", "/indexes/{index}/similar", One(Search)),
    ("GET", "/health", Nothing),
    ("GET", "/", Nothing),
    // documents
    ("GET", "/indexes/{index}/documents/{}", One(DocumentsGet)),
    ("GET", "/indexes/{index}/documents", One(DocumentsGet)),
    (
        "POST",
        "/indexes/{index}/documents/fetch",
        One(DocumentsGet),
    ),
    ("POST", "/indexes/{index}/documents", One(DocumentsAdd)),
    ("PUT", "/indexes/{index}/documents", One(DocumentsAdd)),
    ("DELETE", "/indexes/{index}/documents", One(DocumentsDelete)),
    (
        "DELETE",
        "/indexes/{index}/documents/{}",
        One(DocumentsDelete),
    ),
    (
        "POST",
        "/indexes/{index}/documents/delete",
        One(DocumentsDelete),
    ),
    (
        "POST",
        "/indexes/{index}/documents/delete-batch",
        One(DocumentsDelete),
    ),
    ("POST", "/indexes/{index}/documents/edit", One(DocumentsAll)),
    // indexes
    ("GET", "/indexes", One(IndexesGet)),
    ("POST", "/indexes", One(IndexesCreate)),
    ("GET", "/indexes/{index}", One(IndexesGet)),
    ("PATCH", "/indexes/{index}", One(IndexesUpdate)),
    ("DELETE", "/indexes/{index}", One(IndexesDelete)),
    ("GET", "/indexes/{index}/stats", One(StatsGet)),
    ("POST", "/indexes/{index}/fields", One(FieldsPost)),
    ("POST", "/indexes/{index}/compact", One(IndexesCompact)),
    ("POST", "/swap-indexes", One(IndexesSwap)),
    // settings
    ("GET", "/indexes/{index}/settings", One(SettingsGet)),
    ("PATCH", "/indexes/{index}/settings", One(SettingsUpdate)),
    ("DELETE", "/indexes/{index}/settings", One(SettingsUpdate)),
    ("GET", "/indexes/{index}/settings/{}", One(SettingsGet)),
    ("PUT", "/indexes/{index}/settings/{}", One(SettingsUpdate)),
    ("PATCH", "/indexes/{index}/settings/{}", One(SettingsUpdate)),
    (
        "DELETE",
        "/indexes/{index}/settings/{}",
        One(SettingsUpdate),
    ),
    // tasks
    ("GET", "/tasks", One(TasksGet)),
    ("DELETE", "/tasks", One(TasksDelete)),
    ("POST", "/tasks/cancel", One(TasksCancel)),
    ("POST", "/tasks/compact", One(TasksCompact)),
    ("GET", "/tasks/{}/documents", One(TasksGet)),
    ("GET", "/batches", One(TasksGet)),
    ("GET", "/batches/{}", One(TasksGet)),
    // keys
    ("GET", "/keys", One(KeysGet)),
    ("POST", "/keys", One(KeysCreate)),
    ("GET", "/keys/{}", One(KeysGet)),
    ("PATCH", "/keys/{}", One(KeysUpdate)),
    ("DELETE", "/keys/{}", One(KeysDelete)),
    // webhooks
    ("GET", "/webhooks", One(WebhooksGet)),
    ("POST", "/webhooks", One(WebhooksCreate)),
    ("GET", "/webhooks/{}", One(WebhooksGet)),
    ("PATCH", "/webhooks/{}", One(WebhooksUpdate)),
    ("DELETE", "/webhooks/{}", One(WebhooksDelete)),
    // the instance
    ("GET", "/version", One(Version)),
    ("GET", "/stats", One(StatsGet)),
    ("GET", "/metrics", One(MetricsGet)),
    ("POST", "/dumps", One(DumpsCreate)),
    ("POST", "/snapshots", One(SnapshotsCreate)),
    ("POST", "/export", One(Export)),
    ("GET", "/experimental-features", One(ExperimentalGet)),
    ("PATCH", "/experimental-features", One(ExperimentalUpdate)),
    ("GET", "/network", One(NetworkGet)),
    ("PATCH", "/network", One(NetworkUpdate)),
    ("POST", "/network/control", One(NetworkUpdate)),
    ("POST", "/logs/stream", One(MetricsGet)),
    ("DELETE", "/logs/stream", One(MetricsGet)),
    ("POST", "/logs/stderr", One(MetricsGet)),
    ("POST", "/render-template", Both(SettingsGet, DocumentsGet)),
    // rules and chats
    ("POST", "/dynamic-search-rules", One(DynamicSearchRulesGet)),
    (
        "DELETE",
        "/dynamic-search-rules",
        One(DynamicSearchRulesDelete),
    ),
    (
        "GET",
        "/dynamic-search-rules/{}",
        One(DynamicSearchRulesGet),
    ),
    (
        "PATCH",
        "/dynamic-search-rules/{}",
        One(DynamicSearchRulesUpdate),
    ),
    (
        "DELETE",
        "/dynamic-search-rules/{}",
        One(DynamicSearchRulesDelete),
    ),
    ("GET", "/chats", One(ChatsGet)),
    ("GET", "/chats/{}", One(ChatsGet)),
    ("DELETE", "/chats/{}", One(ChatsDelete)),
    ("GET", "/chats/{}/settings", One(ChatsSettingsGet)),
    ("PATCH", "/chats/{}/settings", One(ChatsSettingsUpdate)),
    ("DELETE", "/chats/{}/settings", One(ChatsSettingsUpdate)),
    ("POST", "/chats/{}/chat/completions", One(ChatCompletions)),
];

/// Every route: its method, and its path with `{index}` and `{}` for what varies.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES
        .iter()
        .map(|(method, pattern, _)| (*method, *pattern))
}

/// What `Allow` says of a path, without the query string: the methods that it has.
pub fn allowed(path: &str) -> String {
    let fits = |(_, pattern, _): &&(&str, &str, Needs)| matching(pattern, path).is_some();
    let methods = ROUTES.iter().filter(fits).map(|(method, ..)| *method);
    let mut allowed: Vec<&str> = Vec::new();
    for method in methods {
        if !allowed.contains(&method) {
            allowed.push(method);
        }
    }
    allowed.join(", ")
}

/// Whether a path, without the query string, has such a pattern.
pub fn has_pattern(path: &str, pattern: &str) -> bool {
    matching(pattern, path).is_some()
}

/// Finds the route; `path` without the query string. As in Meilisearch, HEAD is no method of any.
pub fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    if path == "/_miroir" || path.starts_with("/_miroir/") {
        return open();
    }
    let mut known = false;
    for (row_method, pattern, needs) in ROUTES {
        if *row_method != method && known {
            continue;
        }
        if let Some(index) = matching(pattern, path) {
            if *row_method == method {
                return Found::Route {
                    needs: *needs,
                    index: index.map(decoded),
                };
            }
            known = true;
        }
    }
    match (known, method) {
        // Browsers ask what they may send before they send it, without a key.
        (true, "OPTIONS") => open(),
        (true, _) => Found::WrongMethod,
        (false, _) => Found::Unknown,
    }
}

fn open() -> Found<'static> {
    Found::Route {
        needs: Nothing,
        index: None,
    }
}

/// `Some` where the path has this pattern, with the index in it.
fn matching<'p>(pattern: &str, path: &'p str) -> Option<Option<&'p str>> {
    let mut index = None;
    let mut segments = segments(path);
    for wanted in self::segments(pattern) {
        let segment = segments.next()?;
        match wanted {
            "{index}" if !segment.is_empty() => index = Some(segment),
            "{}" if !segment.is_empty() => {}
            same if same == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(index)
}

/// What stands between slashes. `str::split` takes five times as long for texts as short as these.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut left = Some(path);
    std::iter::from_fn(move || {
        let path = left?;
        let slash = path.bytes().position(|byte| byte == b'/');
        left = slash.map(|at| &path[at + 1..]);
        Some(&path[..slash.unwrap_or(path.len())])
    })
}

/// What is not UTF-8 is no index's name, decoded or not.
fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment)
        .decode_utf8()
        .unwrap_or(Cow::Borrowed(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str) -> (Needs, Option<String>) {
        match find(method, path) {
            Found::Route { needs, index } => (needs, index.map(Cow::into_owned)),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    #[test]
    fn routes_are_found_with_their_index() {
        let films = Some("films".to_owned());
        assert_eq!(
            route("POST", "/indexes/films/search"),
            (One(Search), films.clone())
        );
        assert_eq!(
            route("GET", "/indexes/f%69lms/documents/1%2F2"),
            (One(DocumentsGet), films.clone())
        );
        assert_eq!(
            route("PUT", "/indexes/films/settings/stop-words"),
            (One(SettingsUpdate), films)
        );
        assert_eq!(route("POST", "/multi-search"), (One(Search), None));
        assert_eq!(route("GET", "/keys/search"), (One(KeysGet), None));
        assert_eq!(
            route("POST", "/render-template"),
            (Both(SettingsGet, DocumentsGet), None)
        );
        assert_eq!(route("GET", "/"), (Nothing, None));
        assert_eq!(route("DELETE", "/_miroir/anything"), (Nothing, None));
        assert_eq!(route("OPTIONS", "/indexes/films/search"), (Nothing, None));
    }

    #[test]
    fn what_is_not_listed_is_not_served() {
        for path in [
            "/nothing",
            "/keys/a/b",
            "//keys",
            "/Keys",
            "/keys/",
            "/indexes//search",
            "/%6beys",
            "",
            "/_miroirs",
        ] {
            assert_eq!(find("GET", path), Found::Unknown, "{path}");
        }
        assert_eq!(find("PUT", "/keys"), Found::WrongMethod);
        assert_eq!(allowed("/keys/x"), "GET, PATCH, DELETE");
        assert_eq!(find("HEAD", "/indexes/films"), Found::WrongMethod);
        assert_eq!(find("DELETE", "/indexes/films/search"), Found::WrongMethod);
        assert_eq!(find("OPTIONS", "/nothing"), Found::Unknown);
    }

    #[test]
    fn no_row_hides_another() {
        for (method, pattern, needs) in ROUTES {
            let path = pattern.replace("{index}", "films").replace("{}", "x");
            assert_eq!(route(method, &path).0, *needs, "{method} {pattern}");
        }
    }
}
