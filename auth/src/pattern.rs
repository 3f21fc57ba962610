//! Which indexes a key or a token is for.

use serde::{Deserialize, Serialize};

/// The name of one index, `prefix*`, or `*` for all.
///
/// From a token it may be any text: what is no index's name matches none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IndexPattern(String);

impl IndexPattern {
    /// The pattern that matches every index.
    pub fn all() -> Self {
        IndexPattern("*".to_owned())
    }

    /// A pattern of an API key. Error: Meilisearch's sentence about it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if text == "*" || miroir_api::is_index_uid(name) {
            return Ok(IndexPattern(text.to_owned()));
        }
        Err(format!(
            "`{text}` is not a valid index uid pattern. Index uid patterns can be an integer or a string containing only \
             alphanumeric characters, hyphens (-), underscores (_), and optionally end with a star (*)."
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every index there is.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }

    pub fn matches(&self, index: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => index.starts_with(prefix),
            None => self.0 == index,
        }
    }

    /// Orders patterns that match the same index: the greatest says most about it.
    pub(crate) fn precision(&self) -> (bool, usize) {
        (!self.0.ends_with('*'), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_matches_what_begins_so() {
        let pattern = |text: &str| IndexPattern::parse(text).unwrap();
        assert!(pattern("*").matches("films") && pattern("*").is_all());
        assert!(pattern("fil*").matches("films") && pattern("fil*").matches("fil"));
        assert!(!pattern("fil*").matches("afilm") && !pattern("fil*").is_all());
        assert!(pattern("films").matches("films") && !pattern("films").matches("films2"));
    }

    #[test]
    fn only_what_can_be_a_name_is_a_pattern() {
        for bad in ["", "a b", "*a", "a**", "a*b", &"a".repeat(401)] {
            assert!(IndexPattern::parse(bad).is_err(), "{bad}");
        }
        assert!(IndexPattern::parse(&format!("{}*", "a".repeat(400))).is_ok());
    }
}
