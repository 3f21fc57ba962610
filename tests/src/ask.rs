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
    /// Asked by GET, where the parameters can stand in a query string.
    pub by_get: bool,
}

impl Ask {
    /// A question by POST.
    pub fn new(route: Route, body: Value) -> Ask {
        Ask {
            route,
            body,
            by_get: false,
        }
    }

    /// A plain search.
    pub fn search(body: Value) -> Ask {
        Ask::new(Route::Search, body)
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
        if let Some(target) = self.get_target() {
            return Call::new("GET", named(&target));
        }
        Call {
            headers: vec![("content-type".into(), "application/json".into())],
            body: Some(named(&self.body.to_string()).into_bytes()),
            ..Call::new("POST", named(self.path()))
        }
    }

    /// What stands behind `GET`, where it is asked so and can be.
    pub fn get_target(&self) -> Option<String> {
        let path = match self.route {
            Route::Search | Route::Similar => self.path(),
            Route::Documents => "/indexes/{index}/documents",
            Route::MultiSearch | Route::FacetSearch => return None,
        };
        let members = self.body.as_object().filter(|_| self.by_get)?;
        // what ties in these is asked by POST
        if members.contains_key("hybrid")
            || (self.route == Route::Documents && members.contains_key("sort"))
        {
            return None;
        }
        let pairs: Option<Vec<(&String, String)>> = members
            .iter()
            .map(|(name, value)| Some((name, parameter(name, value)?)))
            .collect();
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs?)
            .finish();
        Some(format!("{path}?{query}"))
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

/// A member of a body as a parameter of a query; `None` where it cannot be one.
fn parameter(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Array(_) if name == "filter" => Some(value.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| parameter("", item)).collect();
            let texts = texts.filter(|texts| !texts.is_empty())?;
            // a point's comma is put together again
            let plain = |text: &String| name == "sort" || !text.contains(',');
            texts.iter().all(plain).then(|| texts.join(","))
        }
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Object(_) => None,
    }
}

/// The corpus's second index, as scenarios name theirs.
pub fn second(index: &str) -> String {
    format!("{index}-2")
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get_target() {
            Some(target) => write!(f, "GET {target}"),
            None => write!(f, "POST {} {}", self.path(), self.body),
        }
    }
}
