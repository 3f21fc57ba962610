//! The queries of one index, on one snapshot of it.

use std::collections::BTreeSet;
use std::str::FromStr;

use heed::RoTxn;
use milli_core::score_details::{ScoreDetails, ScoringStrategy};
use milli_core::{AscDesc, Criterion, Index, SortError};
use miroir_api::Error;
use roaring::RoaringBitmap;
use serde_json::{json, Value};

use super::super::hits::{tokenizer, HitMaker, Words};
use super::super::kind::SearchKind;
use super::super::select::Object;
use super::super::{inside_query, prepare, search_on, SearchQuery, Window};
use super::compare::Rank;
use super::facets::{count, inside};
use super::rules::{Looking, Rules};
use super::{get_index, Distinct, FoundHit, FoundInIndex, Part, Run};
use crate::error::{heed_error, milli_error};
use crate::indexes::Indexes;

/// An index as the queries see it.
struct Snapshot<'a> {
    uid: &'a str,
    index: &'a Index,
    rtxn: &'a RoTxn<'a>,
    criteria: Vec<Criterion>,
    /// How many documents there are.
    documents: usize,
}

/// What one query found.
struct Found<'m> {
    maker: HitMaker<'m>,
    /// Best first.
    documents: Vec<(u32, Vec<ScoreDetails>, Rank)>,
    candidates: RoaringBitmap,
}

impl Run<'_> {
    /// Runs the queries of one index and makes their hits.
    pub fn search_index(
        &mut self,
        indexes: &Indexes,
        uid: String,
        parts: Vec<Part>,
    ) -> Result<FoundInIndex, Error> {
        let first = parts.first().map_or(0, |part| part.position);
        let index = get_index(indexes, &uid).map_err(|error| inside_query(first, error))?;
        let rtxn = index.read_txn().map_err(heed_error)?;
        let snapshot = Snapshot {
            uid: &uid,
            index: &index,
            rtxn: &rtxn,
            criteria: index.criteria(&rtxn).map_err(heed_error)?,
            documents: index.number_of_documents(&rtxn).map_err(milli_error)? as usize,
        };
        let facets = self.facets_by_index.remove(&uid).flatten();
        if let (Some(orders), Some(names)) = (&mut self.orders, &facets) {
            let added = orders.add(&uid, names, &index, &rtxn);
            added.map_err(|error| inside(&uid, Some(first), error))?;
        }
        let words = Words::of(&index, &rtxn).map_err(milli_error)?;
        let (dictionary, separators) = words.lists();

        let mut candidates = RoaringBitmap::new();
        let mut found = Vec::with_capacity(parts.len());
        for part in &parts {
            let tokenizer = tokenizer(dictionary.as_deref(), separators.as_deref());
            let one = self
                .search_part(&snapshot, part, |matching_words| {
                    HitMaker::new(&index, &rtxn, &part.query, matching_words, tokenizer)
                })
                .map_err(|error| inside_query(part.position, error))?;
            candidates |= &one.candidates;
            found.push(one);
        }
        let hidden = self.hidden_fields(facets.as_deref());
        let hits = self.make_hits(&uid, found, &hidden, &mut candidates)?;
        let total = candidates.len() as usize;
        let facets = facets
            .map(|names| count(&names, &index, &rtxn, candidates))
            .transpose()
            .map_err(|error| inside(&uid, Some(first), error))?;
        drop(rtxn);
        Ok(FoundInIndex {
            uid,
            hits,
            total,
            facets,
        })
    }

    fn search_part<'m>(
        &mut self,
        at: &Snapshot<'_>,
        part: &Part,
        maker: impl FnOnce(milli_core::MatchingWords) -> milli_core::Result<HitMaker<'m>>,
    ) -> Result<Found<'m>, Error> {
        let query = &part.query;
        let kind = SearchKind::of(query, at.index, at.rtxn)?;
        self.check_rules(rules_of(at, part, &kind)?)?;
        if !matches!(kind, SearchKind::Keyword) {
            self.semantic_hit_count = Some(0);
        }
        let window = Window {
            offset: 0,
            // The engine makes room for as many as it is asked for.
            limit: self.required().min(at.documents),
            max_total_hits: usize::MAX,
        };
        let search_on = search_on(at.index, at.rtxn, query)?;
        let search_on = search_on.as_deref();
        let mut search = prepare(
            at.index, at.rtxn, query, search_on, &kind, &window, self.flags,
        )?;
        search.scoring_strategy(ScoringStrategy::Detailed);
        search.exhaustive_number_hits(self.paginated());
        if let Some(field) = &self.federation.distinct {
            search.distinct(field.clone());
        }
        let (result, _) = kind.execute(at.uid, search)?;
        let scored = result.documents_ids.into_iter().zip(result.document_scores);
        Ok(Found {
            documents: scored
                .map(|(id, scores)| {
                    let rank = Rank::new(&scores, part.weight, part.position);
                    (id, scores, rank)
                })
                .collect(),
            candidates: result.candidates,
            maker: maker(result.matching_words).map_err(milli_error)?,
        })
    }

    /// The rules of the query must fit those of the queries before it.
    fn check_rules(&mut self, rules: Rules) -> Result<(), Error> {
        let previous = self.previous.take();
        if let Some(previous) = &previous {
            rules.check_against(previous)?;
        }
        self.previous = previous
            .filter(|previous| previous.len() > rules.len())
            .or(Some(rules));
        Ok(())
    }

    /// What has to be known of a document to compare and count it, shown or not.
    fn hidden_fields(&self, facets: Option<&[String]>) -> BTreeSet<String> {
        let Some(distinct) = &self.federation.distinct else {
            return BTreeSet::new();
        };
        let facets = facets.unwrap_or_default().iter().cloned();
        facets.chain([distinct.clone()]).collect()
    }

    /// The hits of all queries, each document once; `candidates` loses what `distinct` leaves out.
    fn make_hits(
        &self,
        uid: &str,
        found: Vec<Found<'_>>,
        hidden_fields: &BTreeSet<String>,
        candidates: &mut RoaringBitmap,
    ) -> Result<Vec<FoundHit>, Error> {
        let (makers, lists): (Vec<_>, Vec<_>) = found
            .into_iter()
            .map(|found| (found.maker, found.documents))
            .unzip();
        let lists = lists
            .into_iter()
            .zip(&makers)
            .map(|(documents, maker)| documents.into_iter().map(move |ranked| (maker, ranked)));
        let ranked = itertools::kmerge_by(
            lists,
            |left: &(_, (_, _, Rank)), right: &(_, (_, _, Rank))| left.1 .2.precedes(&right.1 .2),
        );

        let mut seen = RoaringBitmap::new();
        let mut distinct = self.federation.distinct.as_deref().map(Distinct::new);
        let mut hits = Vec::new();
        for (maker, (id, scores, rank)) in ranked {
            if hits.len() == self.required() {
                break;
            }
            if !seen.insert(id) {
                continue;
            }
            let mut hit = maker.hit(id, &scores).map_err(milli_error)?;
            let mut hidden = maker.hidden(id, hidden_fields).map_err(milli_error)?;
            if let Some(distinct) = &mut distinct {
                if !distinct.accepts(&hit, &hidden) {
                    candidates.remove(id);
                    continue;
                }
            }
            let about = self.about(uid, &rank, &mut hidden)?;
            hit.document.insert("_federation".to_owned(), about);
            hits.push(FoundHit { hit, hidden, rank });
        }
        Ok(hits)
    }

    /// What a hit says about how it got into the list.
    fn about(&self, uid: &str, rank: &Rank, hidden: &mut Object) -> Result<Value, Error> {
        let mut about = json!({
            "indexUid": uid,
            "queriesPosition": rank.position,
            "weightedRankingScore": rank.score,
        });
        if self.proxied {
            let values = serde_json::to_value(&rank.values);
            about["weightedScoreValues"] = values.map_err(|e| Error::internal(e.to_string()))?;
            // The name is 1.50's. What goes to the proxy is no longer looked at here, as there.
            about["extra_document"] = Value::Object(std::mem::take(hidden));
        }
        Ok(about)
    }
}

/// The ranking rules of a query, in the form in which they are compared.
fn rules_of(at: &Snapshot<'_>, part: &Part, kind: &SearchKind) -> Result<Rules, Error> {
    let query: &SearchQuery = &part.query;
    let looking = match (kind, &query.q) {
        (SearchKind::Semantic(_), _) => Looking::Meaning,
        (_, Some(q)) if !q.is_empty() => Looking::Words(query.matching_strategy.into()),
        _ => Looking::Placeholder,
    };
    let sort: Option<Vec<AscDesc>> = match &query.sort {
        None => None,
        Some(sort) => {
            let rules: Result<_, _> = sort.iter().map(|rule| AscDesc::from_str(rule)).collect();
            Some(rules.map_err(|error| milli_error(SortError::from(error).into()))?)
        }
    };
    Ok(Rules::new(
        part.position,
        at.uid,
        &at.criteria,
        sort.as_deref(),
        looking,
    ))
}
