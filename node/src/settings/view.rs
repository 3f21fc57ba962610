//! Settings as an index has them, every field filled in.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use milli_core as milli;
use milli_core::heed::RoTxn;
use milli_core::update::Setting;
use milli_core::{Index, DEFAULT_VALUES_PER_FACET};

use super::{
    Embedder, Faceting, MinWordSize, Pagination, RankingRule, Settings, TypoTolerance, Wildcard,
};

/// Meilisearch's `pagination.maxTotalHits` where an index sets none.
const DEFAULT_MAX_TOTAL_HITS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// The settings of `index` as GET answers them; secrets are masked.
pub fn view(index: &Index, rtxn: &RoTxn) -> Result<Settings, milli::Error> {
    let mut settings = revealed(index, rtxn)?;
    settings.hide_secrets();
    Ok(settings)
}

/// The same with its secrets, for dumps.
pub fn revealed(index: &Index, rtxn: &RoTxn) -> Result<Settings, milli::Error> {
    let or_reset =
        |value: Option<Vec<String>>| Wildcard(value.map_or(Setting::Reset, Setting::Set));
    let owned = |fields: Vec<&str>| fields.into_iter().map(String::from).collect();
    let stop_words = match index.stop_words(rtxn)? {
        Some(words) => words.stream().into_strs()?.into_iter().collect(),
        None => BTreeSet::new(),
    };
    let embedders = index.embedding_configs(rtxn)?.into_iter();
    Ok(Settings {
        displayed_attributes: or_reset(index.displayed_fields(rtxn)?.map(owned)),
        searchable_attributes: or_reset(index.user_defined_searchable_fields(rtxn)?.map(owned)),
        filterable_attributes: Setting::Set(index.filterable_attributes_rules(rtxn)?),
        sortable_attributes: Setting::Set(index.sortable_fields(rtxn)?.into_iter().collect()),
        ranking_rules: Setting::Set(index.criteria(rtxn)?.into_iter().map(RankingRule).collect()),
        stop_words: Setting::Set(stop_words),
        non_separator_tokens: Setting::Set(index.non_separator_tokens(rtxn)?.unwrap_or_default()),
        separator_tokens: Setting::Set(index.separator_tokens(rtxn)?.unwrap_or_default()),
        dictionary: Setting::Set(index.dictionary(rtxn)?.unwrap_or_default()),
        synonyms: Setting::Set(index.user_defined_synonyms(rtxn)?),
        distinct_attribute: index
            .distinct_field(rtxn)?
            .map_or(Setting::Reset, |f| Setting::Set(f.to_owned())),
        proximity_precision: Setting::Set(
            index
                .proximity_precision(rtxn)?
                .map(Into::into)
                .unwrap_or_default(),
        ),
        typo_tolerance: Setting::Set(typo_tolerance(index, rtxn)?),
        faceting: Setting::Set(faceting(index, rtxn)?),
        pagination: Setting::Set(pagination(index, rtxn)?),
        embedders: Setting::Set(
            embedders
                .map(|e| (e.name, Embedder(Setting::Set(e.config.into()))))
                .collect(),
        ),
        search_cutoff_ms: index
            .search_cutoff(rtxn)?
            .map_or(Setting::Reset, Setting::Set),
        localized_attributes: index
            .localized_attributes_rules(rtxn)?
            .map_or(Setting::Reset, |rules| {
                Setting::Set(rules.into_iter().map(Into::into).collect())
            }),
        facet_search: Setting::Set(index.facet_search(rtxn)?),
        prefix_search: Setting::Set(
            index
                .prefix_search(rtxn)?
                .map(Into::into)
                .unwrap_or_default(),
        ),
    })
}

fn typo_tolerance(index: &Index, rtxn: &RoTxn) -> Result<TypoTolerance, milli::Error> {
    let exact_words = match index.exact_words(rtxn)? {
        Some(words) => words.stream().into_strs()?.into_iter().collect(),
        None => BTreeSet::new(),
    };
    let sizes = MinWordSize {
        one_typo: Setting::Set(index.min_word_len_one_typo(rtxn)?),
        two_typos: Setting::Set(index.min_word_len_two_typos(rtxn)?),
    };
    Ok(TypoTolerance {
        enabled: Setting::Set(index.authorize_typos(rtxn)?),
        min_word_size_for_typos: Setting::Set(sizes),
        disable_on_words: Setting::Set(exact_words),
        disable_on_attributes: Setting::Set(
            index
                .exact_attributes(rtxn)?
                .into_iter()
                .map(String::from)
                .collect(),
        ),
        disable_on_numbers: Setting::Set(index.disabled_typos_terms(rtxn)?.disable_on_numbers),
    })
}

fn faceting(index: &Index, rtxn: &RoTxn) -> Result<Faceting, milli::Error> {
    let max_values = index
        .max_values_per_facet(rtxn)?
        .map_or(DEFAULT_VALUES_PER_FACET, |n| n as usize);
    let orders = index.sort_facet_values_by(rtxn)?.into_iter();
    Ok(Faceting {
        max_values_per_facet: Setting::Set(max_values),
        sort_facet_values_by: Setting::Set(
            orders.map(|(name, order)| (name, order.into())).collect(),
        ),
    })
}

fn pagination(index: &Index, rtxn: &RoTxn) -> Result<Pagination, milli::Error> {
    let kept = index
        .pagination_max_total_hits(rtxn)?
        .and_then(|n| NonZeroUsize::new(n as usize));
    Ok(Pagination {
        max_total_hits: Setting::Set(kept.unwrap_or(DEFAULT_MAX_TOTAL_HITS)),
    })
}
