//! One question about an index, whichever route it takes.

use serde_json::Value;

use crate::http::Call;

/// Where a question is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Search,
    /// Several searches, or one federated where the body has `federation`.
    MultiSearch,
    FacetSearch,
    /// `documents/fetch`.
    Documents,
    Similar,
}

/// A route and the body that is posted there. `{index}` and `{index2}` in the body stand for the corpus's indexes, as in scenarios.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub route: Route,
    pub body: Value,
}

impl Ask {
    /// A plain search.
    pub fn search(body: Value) -> Ask {
        Ask {
            route: Route::Search,
            body,
        }
    }

    /// The path with `{index}` in it.
    pub fn path(&self) -> &'static str {
        match self.route {
            Route::Search => "/indexes/{index}/search",
            Route::MultiSearch => "/multi-search",
            Route::FacetSearch => "/indexes/{index}/facet-search",
            Route::Documents => "/indexes/{index}/documents/fetch",
            Route::Similar => "/indexes/{index}/similar",
        }
    }

    /// The request, asked of the index of this name.
    pub fn call(&self, index: &str) -> Call {
        let named = |text: &str| {
            text.replace("{index2}", &second(index))
                .replace("{index}", index)
        };
        Call {
            headers: vec![("content-type".into(), "application/json".into())],
            body: Some(named(&self.body.to_string()).into_bytes()),
            ..Call::new("POST", named(self.path()))
        }
    }

    /// The parts that search: the queries of a multi-search, or the body itself.
    pub fn searches(&self) -> Vec<&Value> {
        match self.body["queries"].as_array() {
            Some(queries) => queries.iter().collect(),
            None => vec![&self.body],
        }
    }

    /// Whether several searches make one list of hits.
    pub fn is_federated(&self) -> bool {
        self.route == Route::MultiSearch && self.body["federation"].is_object()
    }
}

/// The corpus's second index, as scenarios name theirs.
pub fn second(index: &str) -> String {
    format!("{index}-2")
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "POST {} {}", self.path(), self.body)
    }
}
