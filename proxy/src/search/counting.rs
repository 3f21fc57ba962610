//! What nodes are asked besides, so that totals are those of one node (`merge/src/search/totals.rs` says how).
//!
//! These questions are searches for no hits, which nodes answer without ranking anything, and they travel with the search
//! itself.

use miroir_api::SHARD_FIELD;
use miroir_merge::{Counts, DistinctCounts, Paging};
use miroir_router::{and_also, Index, SearchSettings};
use serde_json::value::{to_raw_value, RawValue};

use super::request::{ask_for_any, SearchBody};
use crate::core::App;
use crate::scatter::Ask;

/// Searches for no hits.
#[derive(Default)]
pub struct Counting {
    /// All that matches.
    universe: SearchBody,
    /// Of it what has a value of the distinct attribute, where there is one.
    holders: Option<SearchBody>,
    /// What matches is what any of these finds.
    any: Vec<SearchBody>,
    by_meaning: bool,
}

impl Counting {
    /// What has to be counted for a search whose body is ready for nodes; `None`: its totals add up, or cannot be mended.
    pub fn of(
        body: &SearchBody,
        distinct: Option<&str>,
        paging: Paging,
        settings: &SearchSettings,
    ) -> Option<Counting> {
        let threshold = body.ranking_score_threshold.is_some();
        if matches!(paging, Paging::Offset { limit: 0, .. }) {
            return None;
        }
        match distinct {
            Some(field) if !threshold => Self::of_groups(body, field, settings),
            // Where a rule sorts by values one node comes across low scores early, in an order that is its own.
            None if threshold && !sorts_by_values(body, settings) => Some(Counting {
                universe: SearchBody {
                    facets: body.facets.clone(),
                    ..bare(body)
                },
                ..Counting::default()
            }),
            _ => None,
        }
    }

    /// The same for a search by meaning alone, which finds all that passes its filter. Totals under a threshold are left as they are.
    pub fn by_meaning(
        body: &SearchBody,
        distinct: Option<&str>,
        paging: Paging,
        settings: &SearchSettings,
    ) -> Option<Counting> {
        distinct?;
        let wordless = SearchBody {
            filter: body.filter.clone(),
            ranking_score_threshold: body.ranking_score_threshold.clone(),
            ..SearchBody::default()
        };
        let counting = Self::of(&wordless, distinct, paging, settings)?;
        Some(Counting {
            by_meaning: true,
            ..counting
        })
    }

    fn of_groups(body: &SearchBody, field: &str, settings: &SearchSettings) -> Option<Counting> {
        if !can_be_filtered_by(field, settings) {
            return None;
        }
        let holds =
            format!("\"{field}\" EXISTS AND \"{field}\" IS NOT NULL AND \"{field}\" IS NOT EMPTY");
        let mut holders = bare(body);
        holders.filter = Some(and_also(holders.filter.take(), holds));
        Some(Counting {
            universe: SearchBody {
                facets: Some(raw(&[field])?),
                ..bare(body)
            },
            holders: Some(holders),
            ..Counting::default()
        })
    }

    /// Counts what any of these searches finds.
    pub(super) fn ask_as(&mut self, searches: &[SearchBody]) {
        self.any = searches.to_vec();
    }

    /// How nodes are asked; [`Counting::counts`] wants the answers in this order. `capped`: nodes cut their totals, so that these
    /// are told by a facet.
    pub fn asks<'a>(
        &'a self,
        capped: bool,
        app: &'a App,
        index: &'a Index,
    ) -> impl Iterator<Item = Ask<'a>> {
        let by_facet = capped && self.holders.is_some();
        std::iter::once(&self.universe)
            .chain(&self.holders)
            .map(move |body| {
                let mut body = body.clone();
                if by_facet {
                    body.facets = body.with_facet(SHARD_FIELD);
                }
                let of = |search: &SearchBody| SearchBody {
                    q: search.q.clone(),
                    matching_strategy: search.matching_strategy.clone(),
                    ..body.clone()
                };
                let mut searches: Vec<SearchBody> = self.any.iter().map(of).collect();
                if searches.is_empty() {
                    searches.push(body);
                }
                ask_for_any(searches.into(), app, index)
            })
    }

    /// What the answers are to the merge.
    pub fn counts<'a>(
        &self,
        answers: &'a [Vec<bytes::Bytes>],
        settings: &SearchSettings,
    ) -> Option<Counts<'a>> {
        match answers {
            [universe] => Some(Counts::Threshold { universe }),
            [universe, holders] => Some(Counts::Distinct(DistinctCounts {
                universe,
                holders,
                values_max: settings.node_values_per_facet,
                by_walk: self.by_meaning,
            })),
            _ => None,
        }
    }
}

/// Whether a filter can name the field.
pub fn can_be_filtered_by(field: &str, settings: &SearchSettings) -> bool {
    settings.is_filterable(field) && !field.contains(['"', '\\', '*'])
}

fn sorts_by_values(body: &SearchBody, settings: &SearchSettings) -> bool {
    let sorts = body.sort.as_ref().is_some_and(|sort| !sort.is_empty());
    sorts || settings.ranking_rules.iter().any(|rule| rule.contains(':'))
}

/// The same search for no hits, and nothing shown of them.
pub(super) fn bare(body: &SearchBody) -> SearchBody {
    SearchBody {
        q: body.q.clone(),
        filter: body.filter.clone(),
        matching_strategy: body.matching_strategy.clone(),
        attributes_to_search_on: body.attributes_to_search_on.clone(),
        locales: body.locales.clone(),
        limit: Some(0),
        ..SearchBody::default()
    }
}

fn raw(names: &[&str]) -> Option<Box<RawValue>> {
    to_raw_value(names).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::FilterableRule;
    use serde_json::{json, Value};

    const PAGE: Paging = Paging::Offset {
        offset: 0,
        limit: 20,
    };

    fn body(body: Value) -> SearchBody {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn groups_are_counted_where_the_field_can_be_a_facet() {
        let settings = SearchSettings {
            filterable_attributes: vec![FilterableRule::Field("maker".into())],
            ..SearchSettings::default()
        };
        let search = body(json!({"q": "a", "filter": "x = 1", "sort": ["y:asc"], "limit": 20}));
        let counting = Counting::of(&search, Some("maker"), PAGE, &settings).unwrap();
        assert_eq!(
            serde_json::to_value(&counting.universe).unwrap(),
            json!({"q": "a", "filter": "x = 1", "limit": 0, "facets": ["maker"]})
        );
        let holders = serde_json::to_value(counting.holders.unwrap()).unwrap();
        assert_eq!(holders["filter"][0], "x = 1");
        assert!(Counting::of(&search, Some("other"), PAGE, &settings).is_none());
        assert!(Counting::of(&search, None, PAGE, &settings).is_none());
    }

    #[test]
    fn what_a_threshold_hides_is_counted_where_scores_are_in_order() {
        let settings = SearchSettings::default();
        let search = json!({"q": "a", "rankingScoreThreshold": 0.5, "facets": ["x"]});
        let counting = Counting::of(&body(search), None, PAGE, &settings).unwrap();
        assert_eq!(
            serde_json::to_value(&counting.universe).unwrap(),
            json!({"q": "a", "limit": 0, "facets": ["x"]})
        );
        let sorted = json!({"q": "a", "rankingScoreThreshold": 0.5, "sort": ["x:asc"]});
        assert!(Counting::of(&body(sorted), None, PAGE, &settings).is_none());
    }
}
