//! One answer of the nodes' answers.

use miroir_api::Error;
use miroir_merge::{
    merge_federated, FacetOrder, FederatedAnswers, FederatedIndex, FederatedQuery, FederatedSpec,
    MergeFacets, Merged,
};
use miroir_net::Response;
use miroir_router::{Index, RoutingTable, SearchSettings};
use serde_json::Value;

use super::asking::Answers;
use super::plan::{Planned, Search};
use crate::search::{
    hydrate, merge_error, merge_order, names, redact, redacts, sends_request_uid, shown_key,
    Object, INDEX_HITS_MAX_SINCE,
};
use crate::stages::Stages;

impl Search<'_> {
    /// Errors: 503 for answers that cannot be understood.
    pub async fn respond(
        &self,
        table: &RoutingTable,
        answers: Answers,
        stages: &Stages,
    ) -> Result<Response, Error> {
        let (levelled, mixed) = (answers.levelled(self), answers.mixed(self));
        let found = FederatedAnswers {
            lists: &answers.lists,
            levelled: &levelled,
            mixed: &mixed,
            counted: answers.counted.as_deref(),
        };
        let merged = self.with_spec(stages, |spec| merge_federated(&found, spec));
        let merged = self.redact(merged.map_err(merge_error)?)?;
        let merged = self.hydrate(table, merged).await?;
        let merged = stages.tell(merged, self.federation.show_performance_details);
        let response = Response::segments(200, merged.into_segments());
        if answers.short.is_empty() {
            Ok(response)
        } else {
            Ok(response.header("X-Miroir-Degraded", answers.short.join(" ")))
        }
    }

    async fn hydrate(&self, table: &RoutingTable, merged: Merged) -> Result<Merged, Error> {
        let mut indexes = self.indexes.iter();
        if indexes.all(|index| index.settings.foreign_keys.is_empty()) {
            return Ok(merged);
        }
        let keys = |hit: &Object| {
            let index = self.index_of(hit);
            index.map_or(&[][..], |index| &index.settings.foreign_keys)
        };
        hydrate(self.app, table, merged, keys).await
    }

    fn redact(&self, merged: Merged) -> Result<Merged, Error> {
        let shows_details = self.queries.iter().any(|query| query.search.show_details);
        let mut indexes = self.indexes.iter();
        if !shows_details || !indexes.any(|index| redacts(&index.settings)) {
            return Ok(merged);
        }
        redact(merged, |hit| Some(&*self.index_of(hit)?.settings))
    }

    /// The index that a hit says it comes from.
    fn index_of(&self, hit: &Object) -> Option<&Index> {
        let federation: Value = hit.read("_federation").unwrap_or_default();
        let of = |index: &&&Index| federation["indexUid"] == index.uid.as_str();
        self.indexes.iter().find(of).copied()
    }

    /// What the merge must know.
    fn with_spec<T>(&self, stages: &Stages, merge: impl FnOnce(&FederatedSpec) -> T) -> T {
        let version = self.version;
        let orders: Vec<_> = self
            .indexes
            .iter()
            .map(|index| self.facet_orders(index, version))
            .collect();
        let orders: Vec<_> = orders
            .iter()
            .map(|orders| {
                (
                    |field: &str| orders.own(field),
                    |field: &str| orders.merged(field),
                )
            })
            .collect();
        let indexes: Vec<FederatedIndex> = self
            .indexes
            .iter()
            .zip(&orders)
            .zip(&self.told_apart)
            .map(|((index, (own, merged)), told_apart)| FederatedIndex {
                uid: &index.uid,
                node_uid: &index.node_uid,
                hits_max: if version < INDEX_HITS_MAX_SINCE {
                    usize::MAX
                } else {
                    index.settings.max_total_hits
                },
                primary_key: shown_key(index),
                told_apart: *told_apart,
                facet_order: own,
                merged_order: merged,
                max_values_per_facet: index.settings.max_values_per_facet,
            })
            .collect();
        let searches = self.queries.iter().map(|query| &query.search);
        let strips: Vec<[Vec<&str>; 2]> = searches
            .map(|search| [names(&search.strip_fields), names(&search.strip_formatted)])
            .collect();
        let queries: Vec<FederatedQuery> = self
            .queries
            .iter()
            .zip(&strips)
            .map(
                |(
                    Planned {
                        index,
                        search,
                        weight,
                        ..
                    },
                    [strip_fields, strip_formatted],
                )| FederatedQuery {
                    index: *index,
                    weight: *weight,
                    show_score: search.show_score,
                    show_details: search.show_details,
                    ranked: search.ranked,
                    distinct: search.distinct.as_deref(),
                    strip_fields,
                    strip_formatted,
                },
            )
            .collect();
        let request_uid = sends_request_uid(version).then(|| uuid::Uuid::now_v7().to_string());
        merge(&FederatedSpec {
            paging: self.federation.paging(),
            indexes: &indexes,
            queries: &queries,
            semantic: self.queries.iter().any(|query| query.semantic),
            distinct: self.federation.distinct.as_deref(),
            merge_facets: self
                .federation
                .merge_facets
                .as_ref()
                .map(|merging| MergeFacets {
                    max_values_per_facet: merging.max_values_per_facet,
                }),
            processing_time_ms: stages.elapsed_ms(),
            request_uid: request_uid.as_deref(),
        })
    }
}

impl Search<'_> {
    fn facet_orders<'s>(&'s self, index: &'s Index, version: (u32, u32, u32)) -> FacetOrders<'s> {
        let asked = self.federation.facets_by_index.get(&index.uid);
        FacetOrders {
            settings: &index.settings,
            asked: asked.and_then(Option::as_deref).unwrap_or_default(),
            by_name: version >= FACET_ORDER_BY_NAME_SINCE,
        }
    }
}

/// In what order an index's facets come. Up to 1.49 patterns had an order of their own.
struct FacetOrders<'s> {
    settings: &'s SearchSettings,
    /// Names and patterns.
    asked: &'s [String],
    by_name: bool,
}

impl FacetOrders<'_> {
    fn own(&self, field: &str) -> FacetOrder {
        let all = !self.by_name && self.asked.iter().any(|name| name == "*");
        merge_order(self.settings.facet_order(if all { "*" } else { field }))
    }

    fn merged(&self, field: &str) -> FacetOrder {
        if self.by_name || self.asked.iter().any(|name| name == field) {
            merge_order(self.settings.facet_order(field))
        } else {
            FacetOrder::Alpha
        }
    }
}

/// From this version on a facet that a pattern names has the order of its own name.
const FACET_ORDER_BY_NAME_SINCE: (u32, u32, u32) = (1, 50, 0);
