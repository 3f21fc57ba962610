//! The fields that any document of an index has, and what the settings make of each
//! (`crates/meilisearch/src/routes/indexes/fields.rs` at 1.50).

use deserr::Deserr;
use milli_core::{is_faceted_by, AttributePatterns, Criterion, Index, PatternMatch};
use miroir_api::Error;
use serde::Serialize;
use serde_json::{json, Value};

use crate::deserialize::{codes::*, JsonRejection};
use crate::error::{heed_error, milli_error};
use crate::settings::FacetSort;

/// Which fields are asked for: those to which all that is said applies.
#[derive(Deserr)]
#[deserr(error = JsonRejection<InvalidIndexFieldsFilter>, rename_all = camelCase, deny_unknown_fields)]
pub struct FieldsFilter {
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterAttributePatterns>)]
    attribute_patterns: Option<Vec<String>>,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterDisplayed>)]
    displayed: Option<bool>,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterSearchable>)]
    searchable: Option<bool>,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterSortable>)]
    sortable: Option<bool>,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterDistinct>)]
    distinct: Option<bool>,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterRankingRule>)]
    ranking_rule: Option<bool>,
    #[deserr(default, error = JsonRejection<InvalidIndexFieldsFilterFilterable>)]
    filterable: Option<bool>,
}

impl FieldsFilter {
    fn lets_through(&self, field: &Field) -> bool {
        let named = self.attribute_patterns.as_ref().is_none_or(|patterns| {
            let patterns = AttributePatterns::from(patterns.clone());
            patterns.match_str(&field.name) == PatternMatch::Match
        });
        let wanted = [
            (self.displayed, &field.displayed),
            (self.searchable, &field.searchable),
            (self.sortable, &field.sortable),
            (self.distinct, &field.distinct),
            (self.ranking_rule, &field.ranking_rule),
            (self.filterable, &field.filterable),
        ];
        named
            && wanted
                .iter()
                .all(|(wanted, is)| wanted.is_none_or(|wanted| is["enabled"] == wanted))
    }
}

/// A field as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    name: String,
    displayed: Value,
    searchable: Value,
    sortable: Value,
    distinct: Value,
    ranking_rule: Value,
    filterable: Value,
    localized: Value,
}

/// The fields of an index that the filter lets through, by name.
pub fn list(index: &Index, filter: Option<&FieldsFilter>) -> Result<Vec<Field>, Error> {
    let rtxn = index.read_txn().map_err(heed_error)?;
    let map = index
        .fields_ids_map_with_metadata(&rtxn)
        .map_err(milli_error)?;
    let displayed = index.displayed_fields(&rtxn).map_err(heed_error)?;
    let rules = index.criteria(&rtxn).map_err(heed_error)?;
    let orders = index.sort_facet_values_by(&rtxn).map_err(heed_error)?;
    let builder = map.metadata_builder();
    let mut fields = Vec::with_capacity(map.len());
    for (_, name, metadata) in map.iter() {
        let is_displayed =
            |displayed: &Vec<&str>| displayed.iter().any(|shown| is_faceted_by(name, shown));
        let features = metadata.filterable_attributes_features(builder.filterable_attributes());
        let (search, filter) = (features.is_facet_searchable(), features.is_filterable());
        let locales = builder
            .localized_attributes_rules()
            .and_then(|rules| metadata.locales(rules));
        let order: FacetSort = orders.get(name).into();
        fields.push(Field {
            name: name.to_owned(),
            displayed: json!({ "enabled": displayed.as_ref().is_none_or(is_displayed) }),
            searchable: json!({ "enabled": metadata.is_searchable() }),
            sortable: json!({ "enabled": metadata.is_sortable() }),
            distinct: json!({ "enabled": metadata.is_distinct() }),
            ranking_rule: ranking_rule(&rules, name),
            filterable: json!({
                "enabled": search || filter,
                "sortBy": order,
                "facetSearch": search,
                "equality": features.is_filterable_equality(),
                "comparison": features.is_filterable_comparison(),
            }),
            localized: json!({ "locales": locales.unwrap_or_default() }),
        });
    }
    fields.retain(|field| filter.is_none_or(|filter| filter.lets_through(field)));
    fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(fields)
}

fn ranking_rule(rules: &[Criterion], name: &str) -> Value {
    let order = rules.iter().find_map(|rule| match rule {
        Criterion::Asc(field) if field == name => Some("asc"),
        Criterion::Desc(field) if field == name => Some("desc"),
        _ => None,
    });
    order.map_or(
        json!({ "enabled": false }),
        |order| json!({ "enabled": true, "order": order }),
    )
}
