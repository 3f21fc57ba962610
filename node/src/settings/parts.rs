//! The settings that are more than a list or a number.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::str::FromStr;

use deserr::{
    take_cf_content, DeserializeError, Deserr, ErrorKind, MergeWithError, ValuePointerRef,
};
use milli_core as milli;
use milli_core::index::PrefixSearch;
use milli_core::proximity::ProximityPrecision;
use milli_core::update::Setting;
use milli_core::vector::settings::EmbeddingSettings;
use milli_core::{Criterion, CriterionError, OrderBy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::deserialize::{codes::*, Code, JsonRejection};

/// A list of attributes of which "all" is the default: reset, it is shown as `["*"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Wildcard(pub Setting<Vec<String>>);

impl Wildcard {
    pub fn is_not_set(&self) -> bool {
        self.0 == Setting::NotSet
    }

    /// The setting with a list that names `*` read as a reset.
    pub fn checked(&self) -> Setting<Vec<String>> {
        match &self.0 {
            Setting::Set(fields) if fields.iter().any(|field| field == "*") => Setting::Reset,
            other => other.clone(),
        }
    }
}

impl From<Setting<Vec<String>>> for Wildcard {
    fn from(setting: Setting<Vec<String>>) -> Self {
        Wildcard(setting)
    }
}

impl Serialize for Wildcard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Setting::Set(fields) => fields.serialize(serializer),
            Setting::Reset => ["*"].serialize(serializer),
            Setting::NotSet => serializer.serialize_none(),
        }
    }
}

impl<E: DeserializeError> Deserr<E> for Wildcard {
    fn deserialize_from_value<V: deserr::IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef,
    ) -> Result<Self, E> {
        Setting::deserialize_from_value(value, at).map(Wildcard)
    }
}

/// An embedder's configuration, the engine's own type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Embedder(pub Setting<EmbeddingSettings>);

impl<E: DeserializeError> Deserr<E> for Embedder {
    fn deserialize_from_value<V: deserr::IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef,
    ) -> Result<Self, E> {
        Setting::deserialize_from_value(value, at).map(Embedder)
    }
}

/// From how many letters on a word may have one or two typos.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[deserr(deny_unknown_fields, rename_all = camelCase, validate = two_after_one -> JsonRejection<InvalidSettingsTypoTolerance>)]
pub struct MinWordSize {
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub one_typo: Setting<u8>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub two_typos: Setting<u8>,
}

fn two_after_one<E: DeserializeError>(
    sizes: MinWordSize,
    at: ValuePointerRef,
) -> Result<MinWordSize, E> {
    match (sizes.one_typo, sizes.two_typos) {
        (Setting::Set(one), Setting::Set(two)) if one > two => {
            let msg = milli::UserError::InvalidMinTypoWordLenSetting(one, two).to_string();
            Err(take_cf_content(E::error::<Infallible>(
                None,
                ErrorKind::Unexpected { msg },
                at,
            )))
        }
        _ => Ok(sizes),
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[deserr(deny_unknown_fields, rename_all = camelCase, where_predicate = __Deserr_E: MergeWithError<JsonRejection<InvalidSettingsTypoTolerance>>)]
pub struct TypoTolerance {
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub enabled: Setting<bool>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default, error = JsonRejection<InvalidSettingsTypoTolerance>)]
    pub min_word_size_for_typos: Setting<MinWordSize>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub disable_on_words: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub disable_on_attributes: Setting<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub disable_on_numbers: Setting<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[deserr(deny_unknown_fields, rename_all = camelCase)]
pub struct Faceting {
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub max_values_per_facet: Setting<usize>,
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub sort_facet_values_by: Setting<BTreeMap<String, FacetSort>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[deserr(deny_unknown_fields, rename_all = camelCase)]
pub struct Pagination {
    #[serde(default, skip_serializing_if = "Setting::is_not_set")]
    #[deserr(default)]
    pub max_total_hits: Setting<NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(rename_all = "camelCase")]
#[deserr(rename_all = camelCase)]
pub enum FacetSort {
    Alpha,
    Count,
}

impl From<FacetSort> for OrderBy {
    fn from(sort: FacetSort) -> OrderBy {
        match sort {
            FacetSort::Alpha => OrderBy::Lexicographic,
            FacetSort::Count => OrderBy::Count,
        }
    }
}

impl From<OrderBy> for FacetSort {
    fn from(order: OrderBy) -> FacetSort {
        match order {
            OrderBy::Lexicographic => FacetSort::Alpha,
            OrderBy::Count => FacetSort::Count,
        }
    }
}

/// How exactly word distances are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(rename_all = "camelCase")]
#[deserr(error = JsonRejection<InvalidSettingsProximityPrecision>, rename_all = camelCase)]
pub enum Precision {
    #[default]
    ByWord,
    ByAttribute,
}

impl From<ProximityPrecision> for Precision {
    fn from(precision: ProximityPrecision) -> Self {
        match precision {
            ProximityPrecision::ByWord => Precision::ByWord,
            ProximityPrecision::ByAttribute => Precision::ByAttribute,
        }
    }
}

impl From<Precision> for ProximityPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::ByWord => ProximityPrecision::ByWord,
            Precision::ByAttribute => ProximityPrecision::ByAttribute,
        }
    }
}

/// Whether words are found by their beginnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Deserr)]
#[serde(rename_all = "camelCase")]
#[deserr(error = JsonRejection<InvalidSettingsPrefixSearch>, rename_all = camelCase)]
pub enum Prefix {
    #[default]
    IndexingTime,
    Disabled,
}

impl From<PrefixSearch> for Prefix {
    fn from(prefix: PrefixSearch) -> Self {
        match prefix {
            PrefixSearch::IndexingTime => Prefix::IndexingTime,
            PrefixSearch::Disabled => Prefix::Disabled,
        }
    }
}

impl From<Prefix> for PrefixSearch {
    fn from(prefix: Prefix) -> Self {
        match prefix {
            Prefix::IndexingTime => PrefixSearch::IndexingTime,
            Prefix::Disabled => PrefixSearch::Disabled,
        }
    }
}

/// A ranking rule by its name, checked by the engine.
#[derive(Debug, Clone, PartialEq, Eq, Deserr)]
#[deserr(try_from(&String) = FromStr::from_str -> CriterionError)]
pub struct RankingRule(pub Criterion);

impl FromStr for RankingRule {
    type Err = CriterionError;

    fn from_str(text: &str) -> Result<Self, CriterionError> {
        Criterion::from_str(text).map(RankingRule)
    }
}

impl Serialize for RankingRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RankingRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<C: Code> MergeWithError<CriterionError> for JsonRejection<C> {
    fn merge(
        _: Option<Self>,
        other: CriterionError,
        at: ValuePointerRef,
    ) -> ControlFlow<Self, Self> {
        Self::error::<Infallible>(
            None,
            ErrorKind::Unexpected {
                msg: other.to_string(),
            },
            at,
        )
    }
}
