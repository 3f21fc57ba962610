//! How often each facet value occurs among the documents found, and the extremes of the numbers.

use std::collections::BTreeMap;

use heed::RoTxn;
use milli_core as milli;
use milli_core::{Index, DEFAULT_VALUES_PER_FACET};
use roaring::RoaringBitmap;
use serde::Serialize;
use serde_json::Value;

use super::select::Object;

/// Field -> value -> number of documents, in the order that the index's settings ask for.
pub type FacetDistribution = BTreeMap<String, Object>;

/// The smallest and the largest number of a field among the documents found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FacetStats {
    pub min: f64,
    pub max: f64,
}

/// What is counted: for the fields that were asked for, and the extremes for those of them that have numbers.
#[derive(Debug, Default, Serialize)]
pub struct Facets {
    pub distribution: FacetDistribution,
    pub stats: BTreeMap<String, FacetStats>,
}

/// Counts the values of the fields `names` among `candidates`; `*` among them stands for every filterable field.
///
/// Errors: the engine's `InvalidFacetsDistribution` for a field that is not filterable.
pub fn facets(
    names: &[String],
    index: &Index,
    rtxn: &RoTxn<'_>,
    candidates: RoaringBitmap,
) -> milli::Result<Facets> {
    let order = index.sort_facet_values_by(rtxn)?;
    let values_max = index
        .max_values_per_facet(rtxn)?
        .map_or(DEFAULT_VALUES_PER_FACET, |max| max as usize);

    let mut counter = index.facets_distribution(rtxn);
    counter.max_values_per_facet(values_max);
    if !names.iter().any(|name| name == "*") {
        counter.facets(names.iter().map(|name| (name, order.get(name))));
    }
    counter
        .candidates(candidates)
        .default_order_by(order.get("*"));

    let counted = counter.execute()?;
    let stats = counter.compute_stats()?;

    let distribution = counted
        .into_iter()
        .map(|(field, values)| {
            let values = values
                .into_iter()
                .map(|(value, count)| (value, Value::from(count)));
            (field, values.collect())
        })
        .collect();
    let stats = stats
        .into_iter()
        .map(|(field, (min, max))| (field, FacetStats { min, max }))
        .collect();
    Ok(Facets {
        distribution,
        stats,
    })
}
