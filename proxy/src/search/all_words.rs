//! What a query finds, as searches for all their words.

use miroir_router::{Query, SearchSettings};
use serde_json::value::to_raw_value;

use super::request::SearchBody;

impl SearchBody {
    /// The words of its query, and the languages that it names. `None`: only nodes know them.
    pub(super) fn read_words(&self, settings: &SearchSettings) -> Option<(Query, Vec<String>)> {
        let locales: Vec<String> = match &self.locales {
            Some(locales) => serde_json::from_str(locales.get()).ok()?,
            None => Vec::new(),
        };
        let query = settings.words.read(self.q.as_deref()?, &locales)?;
        Some((query, locales))
    }

    /// Searches for all their words of which any finds what this one does, whichever of its last words are missing. `None`: only nodes know its
    /// words, or by how frequent they are.
    pub fn by_all_words(&self, settings: &SearchSettings) -> Option<Vec<SearchBody>> {
        let (query, locales) = self.read_words(settings)?;
        let text = self.q.as_deref()?;
        let strategy = self.matching_strategy.as_ref();
        let missing = match strategy.map_or("\"last\"", |strategy| strategy.get()) {
            "\"all\"" => vec![Vec::new()],
            "\"last\"" => missing_last(&query),
            _ if query.terms.len() == 1 => vec![Vec::new()],
            _ => return None,
        };
        let search = |missing: &Vec<usize>| {
            let q = match missing.is_empty() {
                true => text.to_owned(),
                false => settings.words.leave_out(&query, missing, &locales)?,
            };
            Some(SearchBody {
                q: Some(q),
                matching_strategy: to_raw_value("all").ok(),
                ..self.clone()
            })
        };
        missing.iter().map(search).collect()
    }
}

/// The words but for the first, which stays, alone or as one with those behind it; all of them where the query has a phrase (milli
/// `query_graph.rs`, `removal_order_for_terms_matching_strategy_last`).
fn missing_last(query: &Query) -> Vec<Vec<usize>> {
    if query.has_phrases() {
        return vec![query.words().collect()];
    }
    let joined = query.joinable().filter(|terms| terms.start == 0);
    let stays = std::iter::once(0..1).chain(joined);
    let goes = |terms: std::ops::Range<usize>| (terms.end..query.terms.len()).collect();
    stays.map(goes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::MISSING;
    use serde_json::{json, Value};

    #[test]
    fn the_first_word_stays() {
        let found = |body: Value| {
            let body: SearchBody = serde_json::from_value(body).unwrap();
            let searches = body.by_all_words(&SearchSettings::default())?;
            let texts = searches.into_iter().map(|search| {
                assert_eq!(search.matching_strategy.unwrap().get(), "\"all\"");
                search.q.unwrap()
            });
            Some(texts.collect::<Vec<String>>())
        };
        let missing = |text: &str| text.replace('_', MISSING);
        assert_eq!(
            found(json!({"q": "a b c d"})).unwrap(),
            ["a _ _ _", "a b _ _", "a b c _"].map(missing)
        );
        assert_eq!(
            found(json!({"q": "a \"b c\" d", "matchingStrategy": "last"})).unwrap(),
            [missing("_ \"b c\" _")]
        );
        assert_eq!(
            found(json!({"q": "a b", "matchingStrategy": "all"})).unwrap(),
            ["a b"]
        );
        let by_frequency = |q: &str| found(json!({"q": q, "matchingStrategy": "frequency"}));
        assert_eq!(by_frequency("a").unwrap(), ["a"]);
        assert_eq!(by_frequency("a b"), None);
    }
}
