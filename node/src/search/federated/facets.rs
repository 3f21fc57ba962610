//! Facets of a federated search: apart for each index, or merged into one.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::hash::Hash;

use heed::RoTxn;
use milli_core as milli;
use milli_core::{Index, OrderBy};
use miroir_api::Error;
use roaring::RoaringBitmap;
use serde_json::{Number, Value};

use super::super::facets::{facets, Facets};
use super::super::hits::SearchHit;
use super::super::select::Object;
use crate::error::{coded, heed_error, milli_error};

/// Where the names of each index come from in an error message.
pub fn inside(uid: &str, note: Option<usize>, mut error: Error) -> Error {
    let note = match note {
        Some(position) => format!("index `{uid}` used in `.queries[{position}]`"),
        None => format!("index `{uid}` is not used in queries"),
    };
    error.message = format!(
        "Inside `.federation.facetsByIndex.{uid}`: {}\n - Note: {note}",
        error.message
    );
    error
}

/// Counts as [`facets`] does; a field that is not filterable has the code of a multi-search.
pub fn count(
    names: &[String],
    index: &Index,
    rtxn: &RoTxn<'_>,
    candidates: RoaringBitmap,
) -> Result<Facets, Error> {
    facets(names, index, rtxn, candidates).map_err(|error| match error {
        milli::Error::UserError(milli::UserError::InvalidFacetsDistribution { .. }) => {
            coded("invalid_multi_search_facets", error.to_string())
        }
        error => milli_error(error),
    })
}

/// In which order the values of a merged facet come: all indexes that have it must agree.
#[derive(Default)]
pub struct Orders(BTreeMap<String, (String, OrderBy)>);

impl Orders {
    /// Errors: 400 `invalid_multi_search_facet_order` where `uid` orders a facet otherwise than an index before it.
    pub fn add(
        &mut self,
        uid: &str,
        names: &[String],
        index: &Index,
        rtxn: &RoTxn<'_>,
    ) -> Result<(), Error> {
        let orders = index.sort_facet_values_by(rtxn).map_err(heed_error)?;
        for name in names {
            let order = orders.get(name);
            let (earlier, known) = self
                .0
                .entry(name.clone())
                .or_insert_with(|| (uid.to_owned(), order));
            if *known != order {
                let message = format!(
                    "Inconsistent order for values in facet `{name}`: index `{earlier}` orders {known}, but index \
                     `{uid}` orders {order}.\n - Hint: Remove `federation.mergeFacets` or change \
                     `faceting.sortFacetValuesBy` to be consistent in settings."
                );
                return Err(coded("invalid_multi_search_facet_order", message));
            }
        }
        Ok(())
    }

    /// One distribution of all; `values_max` cuts each facet.
    pub fn merge(&self, by_index: BTreeMap<String, Facets>, values_max: Option<usize>) -> Facets {
        let mut merged = Facets::default();
        for found in by_index.into_values() {
            for (name, values) in found.distribution {
                let sum = merged.distribution.entry(name).or_default();
                for (value, count) in values {
                    let before = sum.get(&value).and_then(Value::as_u64).unwrap_or(0);
                    sum.insert(value, (before + count.as_u64().unwrap_or(0)).into());
                }
            }
            for (name, stats) in found.stats {
                match merged.stats.entry(name) {
                    Entry::Vacant(entry) => {
                        entry.insert(stats);
                    }
                    Entry::Occupied(mut entry) => {
                        let all = entry.get_mut();
                        all.min = all.min.min(stats.min);
                        all.max = all.max.max(stats.max);
                    }
                }
            }
        }
        for (name, values) in &mut merged.distribution {
            let order = self
                .0
                .get(name)
                .map_or(OrderBy::default(), |(_, order)| *order);
            let mut sorted: Vec<(String, Value)> = std::mem::take(values).into_iter().collect();
            match order {
                OrderBy::Lexicographic => sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0)),
                OrderBy::Count => {
                    sorted.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(count.as_u64()))
                }
            }
            sorted.truncate(values_max.unwrap_or(usize::MAX));
            *values = sorted.into_iter().collect();
        }
        merged
    }
}

/// A value of a document as facets and `distinct` see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FacetValue {
    Text(String),
    Number(Number),
}

impl FacetValue {
    fn of_leaf(value: &Value) -> Option<FacetValue> {
        match value {
            Value::Bool(value) => Some(FacetValue::Text(value.to_string())),
            Value::Number(number) => Some(FacetValue::Number(number.clone())),
            Value::String(text) => Some(FacetValue::Text(milli::normalize_facet(text))),
            _ => None,
        }
    }
}

/// The values of `field` in `object`, whose dotted name may lead through objects and arrays.
pub fn facet_values(object: &Object, field: &str, found: &mut Vec<FacetValue>) {
    match object.get(field) {
        Some(Value::Array(values)) => found.extend(values.iter().filter_map(FacetValue::of_leaf)),
        Some(value) => found.extend(FacetValue::of_leaf(value)),
        None => (),
    }
    for (at, _) in field.rmatch_indices('.') {
        let (root, rest) = (&field[..at], &field[at + 1..]);
        match object.get(root) {
            Some(Value::Object(object)) => facet_values(object, rest, found),
            Some(Value::Array(values)) => {
                let objects = values.iter().filter_map(Value::as_object);
                objects.for_each(|object| facet_values(object, rest, found));
            }
            _ => (),
        }
    }
}

/// The values of a hit, whether it shows the field or not.
pub fn values_of_hit(hit: &SearchHit, hidden: &Object, field: &str) -> Vec<FacetValue> {
    let mut found = Vec::new();
    facet_values(&hit.document, field, &mut found);
    facet_values(hidden, field, &mut found);
    found
}

/// Takes documents out of the counts that `distinct` has left out after they were counted.
pub fn uncount(facets: &mut Facets, hits: &[(SearchHit, Object)]) {
    for (name, counts) in &mut facets.distribution {
        let spelt: BTreeMap<String, String> = counts
            .keys()
            .map(|value| (milli::normalize_facet(value), value.clone()))
            .collect();
        for value in hits
            .iter()
            .flat_map(|(hit, hidden)| values_of_hit(hit, hidden, name))
        {
            let key = match value {
                FacetValue::Text(text) => spelt.get(&text).cloned().unwrap_or(text),
                FacetValue::Number(number) => number.to_string(),
            };
            if let Some(count) = counts.get_mut(&key) {
                *count = count.as_u64().unwrap_or(0).saturating_sub(1).into();
            }
        }
        counts.retain(|_, count| count.as_u64() != Some(0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_on_every_way() {
        let object = json!({"a": {"b": ["X", 1, true, null, {"c": 1}]}, "a.b": "É", "n": [{"m": 1}, {"m": [2, "z"]}, 3]});
        let mut found = Vec::new();
        facet_values(object.as_object().unwrap(), "a.b", &mut found);
        facet_values(object.as_object().unwrap(), "n.m", &mut found);
        let text = |text: &str| FacetValue::Text(text.to_owned());
        assert_eq!(
            found,
            [
                text(&milli::normalize_facet("É")),
                text("x"),
                FacetValue::Number(1.into()),
                text("true"),
                FacetValue::Number(1.into()),
                FacetValue::Number(2.into()),
                text("z")
            ]
        );
    }
}
