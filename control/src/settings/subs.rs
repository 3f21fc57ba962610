//! The sub-routes of the settings (MEILISEARCH A.6).

use reqwest::Method;

use crate::nodes::Version;

/// One sub-route of the settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sub {
    pub path: &'static str,
    /// The key in the settings object.
    pub key: &'static str,
    /// The verb that changes it.
    pub verb: Method,
}

impl Sub {
    /// Whether nodes of a version name it among what a reset resets, whatever is switched on.
    pub(crate) fn is_reset_in(&self, version: Version) -> bool {
        const CHAT_SINCE: Version = (1, 16, 0);
        self.is_in(version) || (self.key == "chat" && version >= CHAT_SINCE)
    }

    /// Whether nodes of a version have it, whatever is switched on.
    pub(crate) fn is_in(&self, version: Version) -> bool {
        const FOREIGN_KEYS_SINCE: Version = (1, 39, 0);
        match self.key {
            "chat" => false,
            "foreignKeys" => version >= FOREIGN_KEYS_SINCE,
            _ => true,
        }
    }
}

const fn put(path: &'static str, key: &'static str) -> Sub {
    Sub {
        path,
        key,
        verb: Method::PUT,
    }
}

const fn patch(path: &'static str, key: &'static str) -> Sub {
    Sub {
        path,
        key,
        verb: Method::PATCH,
    }
}

/// Every sub-route that is served (MEILISEARCH A.6).
pub(crate) static SUBS: [Sub; 22] = [
    put("displayed-attributes", "displayedAttributes"),
    put("searchable-attributes", "searchableAttributes"),
    put("filterable-attributes", "filterableAttributes"),
    put("sortable-attributes", "sortableAttributes"),
    put("ranking-rules", "rankingRules"),
    put("stop-words", "stopWords"),
    put("non-separator-tokens", "nonSeparatorTokens"),
    put("separator-tokens", "separatorTokens"),
    put("dictionary", "dictionary"),
    put("synonyms", "synonyms"),
    put("distinct-attribute", "distinctAttribute"),
    put("proximity-precision", "proximityPrecision"),
    put("localized-attributes", "localizedAttributes"),
    patch("typo-tolerance", "typoTolerance"),
    patch("faceting", "faceting"),
    patch("pagination", "pagination"),
    patch("embedders", "embedders"),
    put("search-cutoff-ms", "searchCutoffMs"),
    put("facet-search", "facetSearch"),
    put("prefix-search", "prefixSearch"),
    put("foreign-keys", "foreignKeys"),
    patch("chat", "chat"),
];
