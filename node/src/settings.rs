//! An index's settings: how they are read from requests, kept in a task, and shown.
//!
//! A setting that is not in a request is `NotSet`, `null` is `Reset`. The order of the fields is the order in answers,
//! as in `crates/meilisearch-types/src/settings.rs` at 1.15.1. Applying them to an index is in [`apply`], reading
//! them back in [`view`].

mod apply;
mod locales;
mod parts;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use deserr::Deserr;
use milli_core as milli;
use milli_core::update::Setting;
use milli_core::FilterableAttributesRule;
use miroir_api::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deserialize::{codes::*, JsonRejection};
use crate::error::milli_error;
use crate::features::Flags;

pub use apply::apply;
pub use locales::{Locale, LocalizedRule};
pub use parts::{
    Embedder, FacetSort, Faceting, MinWordSize, Pagination, Precision, Prefix, RankingRule,
    TypoTolerance, Wildcard,
};
pub use view::{revealed, view};

/// What a settings request says, and what a settings answer shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
pub struct Settings {
    #[serde(default, skip_serializing_if = "Wildcard::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsDisplayedAttributes>)]
    pub displayed_attributes: Wildcard,
    #[serde(default, skip_serializing_if = "Wildcard::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsSearchableAttributes>)]
    pub searchable_attributes: Wildcard,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsFilterableAttributes>)]
    pub filterable_attributes: Setting<Vec<FilterableAttributesRule>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsSortableAttributes>)]
    pub sortable_attributes: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsRankingRules>)]
    pub ranking_rules: Setting<Vec<RankingRule>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsStopWords>)]
    pub stop_words: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsNonSeparatorTokens>)]
    pub non_separator_tokens: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsSeparatorTokens>)]
    pub separator_tokens: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsDictionary>)]
    pub dictionary: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsSynonyms>)]
    pub synonyms: Setting<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsDistinctAttribute>)]
    pub distinct_attribute: Setting<String>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsProximityPrecision>)]
    pub proximity_precision: Setting<Precision>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsTypoTolerance>)]
    pub typo_tolerance: Setting<TypoTolerance>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsFaceting>)]
    pub faceting: Setting<Faceting>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsPagination>)]
    pub pagination: Setting<Pagination>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsEmbedders>)]
    pub embedders: Setting<BTreeMap<String, Embedder>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsSearchCutoffMs>)]
    pub search_cutoff_ms: Setting<u64>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsLocalizedAttributes>)]
    pub localized_attributes: Setting<Vec<LocalizedRule>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsFacetSearch>)]
    pub facet_search: Setting<bool>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsPrefixSearch>)]
    pub prefix_search: Setting<Prefix>,
}

/// How a sub-setting is written: with PUT, or with PATCH where it is an object of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Put,
    Patch,
}

/// One setting with a route of its own.
pub struct Part {
    /// The last segment of its route.
    pub route: &'static str,
    /// Its name in a settings object.
    pub name: &'static str,
    pub verb: Verb,
    /// Reads the body of an update; `null` resets.
    pub read: fn(Value, Flags) -> Result<Settings, Error>,
    /// The update that resets it.
    pub reset: fn() -> Settings,
}

macro_rules! parts {
    ($($route:literal $name:literal $verb:ident $field:ident: $type:ty, $code:ident;)*) => {
        /// Every setting that has a route, in Meilisearch's order.
        pub const PARTS: &[Part] = &[$(Part {
            route: $route,
            name: $name,
            verb: Verb::$verb,
            read: |body, flags| {
                let value = deserr::deserialize::<Option<$type>, _, JsonRejection<$code>>(body)?;
                let setting = value.map_or(Setting::Reset, Setting::Set);
                Settings { $field: setting.into(), ..Settings::default() }.validated(flags)
            },
            reset: || Settings { $field: Setting::Reset.into(), ..Settings::default() },
        }),*];

        impl Settings {
            /// Every setting reset.
            pub fn cleared() -> Settings {
                Settings { $($field: Setting::Reset.into()),* }
            }
        }
    };
}

parts! {
    "filterable-attributes" "filterableAttributes" Put filterable_attributes: Vec<FilterableAttributesRule>, InvalidSettingsFilterableAttributes;
    "sortable-attributes" "sortableAttributes" Put sortable_attributes: BTreeSet<String>, InvalidSettingsSortableAttributes;
    "displayed-attributes" "displayedAttributes" Put displayed_attributes: Vec<String>, InvalidSettingsDisplayedAttributes;
    "typo-tolerance" "typoTolerance" Patch typo_tolerance: TypoTolerance, InvalidSettingsTypoTolerance;
    "searchable-attributes" "searchableAttributes" Put searchable_attributes: Vec<String>, InvalidSettingsSearchableAttributes;
    "stop-words" "stopWords" Put stop_words: BTreeSet<String>, InvalidSettingsStopWords;
    "non-separator-tokens" "nonSeparatorTokens" Put non_separator_tokens: BTreeSet<String>, InvalidSettingsNonSeparatorTokens;
    "separator-tokens" "separatorTokens" Put separator_tokens: BTreeSet<String>, InvalidSettingsSeparatorTokens;
    "dictionary" "dictionary" Put dictionary: BTreeSet<String>, InvalidSettingsDictionary;
    "synonyms" "synonyms" Put synonyms: BTreeMap<String, Vec<String>>, InvalidSettingsSynonyms;
    "distinct-attribute" "distinctAttribute" Put distinct_attribute: String, InvalidSettingsDistinctAttribute;
    "proximity-precision" "proximityPrecision" Put proximity_precision: Precision, InvalidSettingsProximityPrecision;
    "localized-attributes" "localizedAttributes" Put localized_attributes: Vec<LocalizedRule>, InvalidSettingsLocalizedAttributes;
    "ranking-rules" "rankingRules" Put ranking_rules: Vec<RankingRule>, InvalidSettingsRankingRules;
    "faceting" "faceting" Patch faceting: Faceting, InvalidSettingsFaceting;
    "pagination" "pagination" Patch pagination: Pagination, InvalidSettingsPagination;
    "embedders" "embedders" Patch embedders: BTreeMap<String, Embedder>, InvalidSettingsEmbedders;
    "search-cutoff-ms" "searchCutoffMs" Put search_cutoff_ms: u64, InvalidSettingsSearchCutoffMs;
    "facet-search" "facetSearch" Put facet_search: bool, InvalidSettingsFacetSearch;
    "prefix-search" "prefixSearch" Put prefix_search: Prefix, InvalidSettingsPrefixSearch;
}

impl Settings {
    /// Checks what cannot be said in types: the embedders' configurations.
    pub fn validated(mut self, flags: Flags) -> Result<Settings, Error> {
        let Setting::Set(embedders) = &mut self.embedders else {
            return Ok(self);
        };
        for (name, embedder) in embedders {
            if let Setting::Set(config) = &embedder.0 {
                refuse_composite(config, flags)?;
            }
            let config = std::mem::take(&mut embedder.0);
            embedder.0 =
                milli::update::validate_embedding_settings(config, name).map_err(milli_error)?;
        }
        Ok(self)
    }

    /// The settings as a task shows them: API keys are masked.
    pub fn to_details(&self) -> Value {
        let mut shown = self.clone();
        shown.hide_secrets();
        // A structure of strings, numbers and lists always becomes a value.
        serde_json::to_value(&shown).unwrap_or_default()
    }

    /// Masks API keys, leaving the first letters of long ones.
    pub fn hide_secrets(&mut self) {
        let Setting::Set(embedders) = &mut self.embedders else {
            return;
        };
        for embedder in embedders.values_mut() {
            if let Setting::Set(config) = &mut embedder.0 {
                if let Setting::Set(key) = &mut config.api_key {
                    *key = miroir_api::hide_secret(key);
                }
            }
        }
    }
}

/// Composite embedders are behind an experimental feature.
fn refuse_composite(
    config: &milli::vector::settings::EmbeddingSettings,
    flags: Flags,
) -> Result<(), Error> {
    use milli::vector::settings::EmbedderSource;
    if matches!(config.source, Setting::Set(EmbedderSource::Composite)) {
        flags.check_composite_embedders("using `\"composite\"` as source")?;
    }
    if matches!(config.search_embedder, Setting::Set(_)) {
        flags.check_composite_embedders("setting `searchEmbedder`")?;
    }
    if matches!(config.indexing_embedder, Setting::Set(_)) {
        flags.check_composite_embedders("setting `indexingEmbedder`")?;
    }
    Ok(())
}
