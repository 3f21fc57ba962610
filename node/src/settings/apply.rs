//! Settings onto the engine's builder.

use milli_core as milli;
use milli_core::update::Setting;

use super::{Faceting, MinWordSize, Pagination, Settings, TypoTolerance};

type Builder<'a, 't, 'i> = milli::update::Settings<'a, 't, 'i>;

// What a setting does to the builder: nothing, a value, or back to the default.
macro_rules! put {
    ($setting:expr, $value:ident => $set:expr, $reset:expr) => {
        match $setting {
            Setting::Set($value) => {
                $set;
            }
            Setting::Reset => {
                $reset;
            }
            Setting::NotSet => (),
        }
    };
}

/// Writes every setting that is set or reset into `builder`; the engine checks them when it executes.
pub fn apply(settings: &Settings, builder: &mut Builder<'_, '_, '_>) {
    let s = settings.clone();
    put!(s.searchable_attributes.checked(), v => builder.set_searchable_fields(v), builder.reset_searchable_fields());
    put!(s.displayed_attributes.checked(), v => builder.set_displayed_fields(v), builder.reset_displayed_fields());
    put!(s.filterable_attributes, v => builder.set_filterable_fields(v), builder.reset_filterable_fields());
    put!(s.sortable_attributes, v => builder.set_sortable_fields(v.into_iter().collect()), builder.reset_sortable_fields());
    put!(s.ranking_rules, v => builder.set_criteria(v.into_iter().map(|rule| rule.0).collect()), builder.reset_criteria());
    put!(s.stop_words, v => builder.set_stop_words(v), builder.reset_stop_words());
    put!(s.non_separator_tokens, v => builder.set_non_separator_tokens(v), builder.reset_non_separator_tokens());
    put!(s.separator_tokens, v => builder.set_separator_tokens(v), builder.reset_separator_tokens());
    put!(s.dictionary, v => builder.set_dictionary(v), builder.reset_dictionary());
    put!(s.synonyms, v => builder.set_synonyms(v.into_iter().collect()), builder.reset_synonyms());
    put!(s.distinct_attribute, v => builder.set_distinct_field(v), builder.reset_distinct_field());
    put!(s.proximity_precision, v => builder.set_proximity_precision(v.into()), builder.reset_proximity_precision());
    put!(s.localized_attributes, v => builder.set_localized_attributes_rules(v.into_iter().map(Into::into).collect()), builder.reset_localized_attributes_rules());
    put!(s.search_cutoff_ms, v => builder.set_search_cutoff(v), builder.reset_search_cutoff());
    put!(s.prefix_search, v => builder.set_prefix_search(v.into()), builder.reset_prefix_search());
    put!(s.facet_search, v => builder.set_facet_search(v), builder.reset_facet_search());
    put!(s.embedders, v => builder.set_embedder_settings(v.into_iter().map(|(name, e)| (name, e.0)).collect()), builder.reset_embedder_settings());
    put!(s.pagination, v => apply_pagination(v, builder), builder.reset_pagination_max_total_hits());
    put!(s.faceting, v => apply_faceting(v, builder), { builder.reset_max_values_per_facet(); builder.reset_sort_facet_values_by(); });
    // As in Meilisearch 1.15.1, a reset of the whole object leaves `disableOnNumbers` alone.
    put!(s.typo_tolerance, v => apply_typos(v, builder), {
        builder.reset_authorize_typos();
        builder.reset_min_word_len_one_typo();
        builder.reset_min_word_len_two_typos();
        builder.reset_exact_words();
        builder.reset_exact_attributes();
    });
}

fn apply_pagination(pagination: Pagination, builder: &mut Builder<'_, '_, '_>) {
    put!(pagination.max_total_hits, v => builder.set_pagination_max_total_hits(v.get()), builder.reset_pagination_max_total_hits());
}

fn apply_faceting(faceting: Faceting, builder: &mut Builder<'_, '_, '_>) {
    put!(faceting.max_values_per_facet, v => builder.set_max_values_per_facet(v), builder.reset_max_values_per_facet());
    put!(
        faceting.sort_facet_values_by,
        v => builder.set_sort_facet_values_by(v.into_iter().map(|(name, sort)| (name, sort.into())).collect()),
        builder.reset_sort_facet_values_by()
    );
}

fn apply_typos(typos: TypoTolerance, builder: &mut Builder<'_, '_, '_>) {
    put!(typos.enabled, v => builder.set_autorize_typos(v), builder.reset_authorize_typos());
    put!(typos.min_word_size_for_typos, v => apply_word_sizes(v, builder), {
        builder.reset_min_word_len_one_typo();
        builder.reset_min_word_len_two_typos();
    });
    put!(typos.disable_on_words, v => builder.set_exact_words(v), builder.reset_exact_words());
    put!(typos.disable_on_attributes, v => builder.set_exact_attributes(v.into_iter().collect()), builder.reset_exact_attributes());
    put!(typos.disable_on_numbers, v => builder.set_disable_on_numbers(v), builder.reset_disable_on_numbers());
}

fn apply_word_sizes(sizes: MinWordSize, builder: &mut Builder<'_, '_, '_>) {
    put!(sizes.one_typo, v => builder.set_min_word_len_one_typo(v), builder.reset_min_word_len_one_typo());
    put!(sizes.two_typos, v => builder.set_min_word_len_two_typos(v), builder.reset_min_word_len_two_typos());
}
