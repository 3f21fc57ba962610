//! What the one who asks may see.

use std::sync::Arc;

use miroir_api::Error;
use serde_json::Value;

use crate::pattern::IndexPattern;
use crate::ring::invalid_key;
use crate::token::SearchRules;

/// The rights of one request, beyond the action and the index of its path, which are checked already. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    /// The key's indexes; `None`: all.
    indexes: Option<Arc<[IndexPattern]>>,
    /// The token's rules, where one was used.
    rules: Option<Arc<SearchRules>>,
    creates: bool,
}

impl Access {
    /// The master key's rights, and everybody's where there is none.
    pub fn everything() -> Self {
        Access {
            indexes: None,
            rules: None,
            creates: true,
        }
    }

    pub(crate) fn of_key(indexes: Arc<[IndexPattern]>, creates: bool) -> Self {
        Access {
            indexes: Some(indexes),
            rules: None,
            creates,
        }
    }

    pub(crate) fn with_rules(self, rules: SearchRules) -> Self {
        Access {
            rules: Some(Arc::new(rules)),
            ..self
        }
    }

    /// Whether the index may be seen at all.
    pub fn sees(&self, index: &str) -> bool {
        let by_key = self
            .indexes
            .as_ref()
            .is_none_or(|all| all.iter().any(|pattern| pattern.matches(index)));
        by_key && self.rules.as_ref().is_none_or(|rules| rules.allows(index))
    }

    /// Whether every index may be seen: then lists are shown whole, with what belongs to no index.
    pub fn sees_all(&self) -> bool {
        let by_key = self
            .indexes
            .as_ref()
            .is_none_or(|all| all.iter().any(IndexPattern::is_all));
        by_key && self.rules.as_ref().is_none_or(|rules| rules.allows_all())
    }

    /// The key's indexes, to select what belongs to them; `None`: all there is.
    pub fn indexes(&self) -> Option<Arc<[IndexPattern]>> {
        self.indexes.clone().filter(|_| !self.sees_all())
    }

    /// Whether the index may be created, also on the way to something else.
    pub fn may_create(&self, index: &str) -> bool {
        self.creates && self.sees(index)
    }

    /// Checks an index that a body names. Error: 403 `invalid_api_key`.
    pub fn check_named(&self, index: &str) -> Result<(), Error> {
        if self.sees(index) {
            Ok(())
        } else {
            Err(invalid_key())
        }
    }

    /// Checks the creation of an index that a body names. Error: 403 `invalid_api_key`.
    pub fn check_creation(&self, index: &str) -> Result<(), Error> {
        if self.may_create(index) {
            Ok(())
        } else {
            Err(invalid_key())
        }
    }

    /// Joins what a tenant token demands of searches in the index to a search's own `filter`: both must hold
    /// (`meilisearch/src/search/mod.rs`, `fuse_filters`).
    pub fn restrict(&self, index: &str, filter: &mut Option<Value>) {
        let Some(demanded) = self.demanded(index) else {
            return;
        };
        let list = |filter: Value| match filter {
            Value::Array(all) => all,
            one => vec![one],
        };
        // A filter that is null is none.
        *filter = Some(match filter.take().filter(|own| !own.is_null()) {
            None => demanded.clone(),
            Some(own) => {
                let mut all = list(own);
                all.extend(list(demanded.clone()));
                Value::Array(all)
            }
        });
    }

    /// The same, alone: two requests to which it says the same may see the same of the index.
    pub fn demanded(&self, index: &str) -> Option<&Value> {
        self.rules.as_ref().and_then(|rules| rules.filter(index))
    }

    /// The key's patterns, for a message.
    pub(crate) fn key_patterns(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .indexes
            .iter()
            .flat_map(|all| all.iter().map(IndexPattern::as_str))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn key_sees(&self, index: &str) -> bool {
        self.indexes
            .as_ref()
            .is_none_or(|all| all.iter().any(|pattern| pattern.matches(index)))
    }

    pub(crate) fn rules(&self) -> Option<&SearchRules> {
        self.rules.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tenant(indexes: &[&str], rules: Value) -> Access {
        let indexes = indexes
            .iter()
            .map(|text| IndexPattern::parse(text).unwrap());
        Access::of_key(indexes.collect(), false).with_rules(serde_json::from_value(rules).unwrap())
    }

    fn joined(access: &Access, index: &str, filter: Value) -> Value {
        let mut filter = Some(filter).filter(|filter| !filter.is_null());
        access.restrict(index, &mut filter);
        filter.unwrap_or_default()
    }

    #[test]
    fn key_and_token_must_both_allow_an_index() {
        let access = tenant(&["a*", "b"], json!(["b", "abc", "z"]));
        assert!(access.sees("b") && access.sees("abc"));
        assert!(!access.sees("ab") && !access.sees("z") && !access.sees_all());
        assert!(!access.may_create("b"));
        assert!(tenant(&["*"], json!({"*": null})).sees_all());
        assert_eq!(access.check_named("z").unwrap_err().code, "invalid_api_key");
    }

    #[test]
    fn the_most_precise_pattern_decides() {
        let rules = json!({
            "*": {"filter": "all = 1"},
            "fi*": {"filter": "short = 1"},
            "film*": {"filter": "long = 1"},
            "films": null,
        });
        let access = tenant(&["*"], rules);
        assert_eq!(joined(&access, "films", json!(null)), json!(null));
        assert_eq!(joined(&access, "filmstrips", json!(null)), "long = 1");
        assert_eq!(joined(&access, "fish", json!(null)), "short = 1");
        assert_eq!(joined(&access, "songs", json!(null)), "all = 1");
    }

    #[test]
    fn filters_are_joined_as_arrays() {
        let access = tenant(
            &["*"],
            json!({"*": {"filter": ["user = 1", ["a = 1", "b = 1"]]}}),
        );
        assert_eq!(
            joined(&access, "films", json!("year > 1")),
            json!(["year > 1", "user = 1", ["a = 1", "b = 1"]])
        );
        assert_eq!(
            joined(&access, "films", json!([["x = 1", "y = 1"]])),
            json!([["x = 1", "y = 1"], "user = 1", ["a = 1", "b = 1"]])
        );
        let mut null = Some(Value::Null);
        access.restrict("films", &mut null);
        assert_eq!(null, Some(json!(["user = 1", ["a = 1", "b = 1"]])));
        let mut untouched = Some(json!("year > 1"));
        Access::everything().restrict("films", &mut untouched);
        assert_eq!(untouched, Some(json!("year > 1")));
    }
}
