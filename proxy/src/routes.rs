//! Which requests a core serves itself. Everything that is not on this short list goes to the control plane.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The hot list: searches, document reads and document writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Search {
        index: Cow<'a, str>,
    },
    Similar {
        index: Cow<'a, str>,
    },
    MultiSearch,
    RenderTemplate,
    FacetSearch {
        index: Cow<'a, str>,
    },
    Document {
        index: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    Documents {
        index: Cow<'a, str>,
    },
    FetchDocuments {
        index: Cow<'a, str>,
    },
    AddDocuments {
        index: Cow<'a, str>,
    },
    DeleteDocument {
        index: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    DeleteBatch {
        index: Cow<'a, str>,
    },
    DeleteByFilter {
        index: Cow<'a, str>,
    },
    EditDocuments {
        index: Cow<'a, str>,
    },
    ClearDocuments {
        index: Cow<'a, str>,
    },
    /// What the cores have counted.
    Metrics,
    /// Not ours: indexes, settings, tasks, stats and everything unknown.
    Slow,
}

impl Route<'_> {
    /// As metrics call them, by [`Route::place`].
    pub const NAMES: [&'static str; 16] = [
        "search",
        "similar",
        "multi_search",
        "facet_search",
        "get_document",
        "list_documents",
        "fetch_documents",
        "add_documents",
        "delete_document",
        "delete_documents",
        "delete_documents_by_filter",
        "edit_documents",
        "delete_all_documents",
        "metrics",
        "control",
        "render_template",
    ];

    /// Places of those that search.
    pub const SEARCHES: [usize; 4] = [0, 1, 2, 3];

    /// Its place in [`Route::NAMES`].
    pub fn place(&self) -> usize {
        match self {
            Route::Search { .. } => 0,
            Route::Similar { .. } => 1,
            Route::MultiSearch => 2,
            Route::FacetSearch { .. } => 3,
            Route::Document { .. } => 4,
            Route::Documents { .. } => 5,
            Route::FetchDocuments { .. } => 6,
            Route::AddDocuments { .. } => 7,
            Route::DeleteDocument { .. } => 8,
            Route::DeleteBatch { .. } => 9,
            Route::DeleteByFilter { .. } => 10,
            Route::EditDocuments { .. } => 11,
            Route::ClearDocuments { .. } => 12,
            Route::Metrics => 13,
            Route::Slow => 14,
            Route::RenderTemplate => 15,
        }
    }
}

/// Finds the route; `path` without the query string.
pub fn classify<'a>(method: &str, path: &'a str) -> Route<'a> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments = path.split('/');
    let first = segments.next().unwrap_or_default();
    let rest = [
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
    ];
    match (first, rest) {
        ("_miroir", [Some("metrics"), None, ..]) if method == "GET" => Route::Metrics,
        ("multi-search", [None, ..]) if method == "POST" => Route::MultiSearch,
        ("render-template", [None, ..]) if method == "POST" => Route::RenderTemplate,
        ("indexes", [Some(index), Some("search"), None, _]) if matches!(method, "GET" | "POST") => {
            decoded(index).map_or(Route::Slow, |index| Route::Search { index })
        }
        ("indexes", [Some(index), Some("facet-search"), None, _]) if method == "POST" => {
            decoded(index).map_or(Route::Slow, |index| Route::FacetSearch { index })
        }
        ("indexes", [Some(index), Some("similar"), None, _])
            if matches!(method, "GET" | "POST") =>
        {
            decoded(index).map_or(Route::Slow, |index| Route::Similar { index })
        }
        ("indexes", [Some(index), Some("documents"), third, None]) => {
            decoded(index).map_or(Route::Slow, |index| documents(method, index, third))
        }
        _ => Route::Slow,
    }
}

fn documents<'a>(method: &str, index: Cow<'a, str>, third: Option<&'a str>) -> Route<'a> {
    match (method, third) {
        ("GET", None) => Route::Documents { index },
        ("POST" | "PUT", None) => Route::AddDocuments { index },
        ("DELETE", None) => Route::ClearDocuments { index },
        ("POST", Some("fetch")) => Route::FetchDocuments { index },
        ("POST", Some("edit")) => Route::EditDocuments { index },
        ("POST", Some("delete")) => Route::DeleteByFilter { index },
        ("POST", Some("delete-batch")) => Route::DeleteBatch { index },
        ("GET", Some(id)) => decoded(id).map_or(Route::Slow, |id| Route::Document { index, id }),
        ("DELETE", Some(id)) => {
            decoded(id).map_or(Route::Slow, |id| Route::DeleteDocument { index, id })
        }
        _ => Route::Slow,
    }
}

/// `None` where the decoded text is empty or not UTF-8: no index or document is called so.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment)
        .decode_utf8()
        .ok()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_list() {
        let films = || Cow::Borrowed("films");
        assert_eq!(
            classify("POST", "/indexes/films/search"),
            Route::Search { index: films() }
        );
        assert_eq!(
            classify("GET", "/indexes/films/search"),
            Route::Search { index: films() }
        );
        assert_eq!(
            classify("POST", "/indexes/films/similar"),
            Route::Similar { index: films() }
        );
        assert_eq!(classify("PUT", "/indexes/films/search"), Route::Slow);
        assert_eq!(
            classify("POST", "/indexes/films/facet-search"),
            Route::FacetSearch { index: films() }
        );
        assert_eq!(classify("GET", "/indexes/films/facet-search"), Route::Slow);
        assert_eq!(classify("POST", "/multi-search"), Route::MultiSearch);
        assert_eq!(
            classify("POST", "/indexes/films/documents"),
            Route::AddDocuments { index: films() }
        );
        assert_eq!(
            classify("GET", "/indexes/films/documents/a%2Fb"),
            Route::Document {
                index: films(),
                id: Cow::Owned("a/b".into())
            }
        );
        assert_eq!(
            classify("POST", "/indexes/films/documents/delete"),
            Route::DeleteByFilter { index: films() }
        );
        assert_eq!(
            classify("POST", "/indexes/films/documents/edit"),
            Route::EditDocuments { index: films() }
        );
        assert_eq!(classify("POST", "/render-template"), Route::RenderTemplate);
        assert_eq!(classify("GET", "/_miroir/metrics"), Route::Metrics);
        assert_eq!(classify("GET", "/_miroir/ready"), Route::Slow);
        assert_eq!(classify("GET", "/indexes"), Route::Slow);
        assert_eq!(classify("GET", "/indexes//search"), Route::Slow);
        assert_eq!(classify("GET", "/indexes/films/documents/1/2"), Route::Slow);
    }
}
