use std::ops::Range;

use crate::rank::{RankError, RankKey};
use crate::scan::{Malformed, Scanner};
use crate::search::unreadable;
use crate::weighted::Weighted;
use crate::MergeError;

/// One node's answer to a federated search.
#[derive(Default)]
pub(super) struct Answer<'a> {
    pub hits: Vec<Hit<'a>>,
    /// `estimatedTotalHits` or `totalHits`, over all indexes.
    pub total: u64,
    pub facets: Vec<IndexFacets>,
    /// `semanticHitCount` was there: some query has a vector.
    pub semantic: bool,
    /// Vectors of queries.
    pub query_vectors: Option<Vec<QueryVector>>,
}

/// Spans of a query's position (as it stands between its quotes) and of its vector.
pub(super) type QueryVector = (Range<usize>, Range<usize>);

/// The facets of one index: the name as nodes know it, and spans of the objects.
pub(crate) struct IndexFacets {
    pub node_uid: String,
    pub distribution: Option<Range<usize>>,
    pub stats: Option<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Hit<'a> {
    /// The answer's place in the list of answers.
    pub node: usize,
    pub span: Range<usize>,
    /// Its place among the hits of its query.
    pub key: RankKey<'a>,
    /// Its place among the hits of other queries.
    pub weighted: Weighted<'a>,
    pub query: usize,
    /// The string `_federation.indexUid`, quotes and all.
    pub index_uid: Range<usize>,
    /// The object `_federation.extra_document`: fields that nodes send on behalf of the merge.
    pub extra: Option<Range<usize>>,
}

impl<'a> Answer<'a> {
    /// Reads a whole answer; `ranked` tells by a query's position whether its hits must carry details.
    pub fn read(
        bytes: &'a [u8],
        node: usize,
        ranked: &dyn Fn(usize) -> Option<bool>,
    ) -> Result<Self, MergeError> {
        if simdutf8::basic::from_utf8(bytes).is_err() {
            return Err(MergeError::bad(node, "it is not UTF-8"));
        }
        let mut answer = Answer::default();
        let (mut hits, mut total) = (false, None);
        let mut scanner = Scanner::new(bytes);
        scanner
            .object(|scanner, key, _| {
                match key.raw {
                    b"hits" if !hits => {
                        hits = true;
                        scanner.array(|scanner| {
                            let hit = Hit::read(scanner, bytes, node, ranked)?;
                            answer.hits.push(hit);
                            Ok::<(), Trouble>(())
                        })?;
                    }
                    b"estimatedTotalHits" | b"totalHits" => total = scanner.unsigned()?,
                    b"facetsByIndex" => answer.facets = read_facets(scanner)?,
                    b"semanticHitCount" => answer.semantic = scanner.unsigned()?.is_some(),
                    b"queryVectors" if scanner.peek() == Some(b'{') => {
                        answer.query_vectors = Some(read_vectors(scanner)?);
                    }
                    _ => {
                        scanner.value()?;
                    }
                }
                Ok::<(), Trouble>(())
            })
            .and_then(|()| Ok(scanner.end()?))
            .map_err(|trouble| trouble.at_node(node))?;
        if !hits {
            return Err(MergeError::bad(node, "it has no `hits`"));
        }
        answer.total = total.ok_or_else(|| MergeError::bad(node, "it has no total of hits"))?;
        Ok(answer)
    }
}

impl<'a> Hit<'a> {
    fn read(
        scanner: &mut Scanner<'a>,
        bytes: &'a [u8],
        node: usize,
        ranked: &dyn Fn(usize) -> Option<bool>,
    ) -> Result<Self, Trouble> {
        scanner.peek();
        let start = scanner.pos();
        let (mut details, mut federation) = (None, None);
        scanner.object(|scanner, key, _| {
            let value = scanner.value()?;
            match key.raw {
                b"_rankingScoreDetails" => details = Some(value),
                b"_federation" => federation = Some(value),
                _ => {}
            }
            Ok::<(), Malformed>(())
        })?;
        let span = start..scanner.pos();
        let federation = federation.ok_or(Trouble::Lacks("_federation"))?;
        let mut hit = Hit::read_federation(Scanner::within(bytes, federation), node, span)?;
        if ranked(hit.query).ok_or(Trouble::Lacks("a query that was asked"))? {
            let details = details.ok_or(Trouble::Lacks("_rankingScoreDetails"))?;
            hit.key = RankKey::read(bytes, details, Some(&hit.weighted.values))?;
        }
        Ok(hit)
    }

    /// Reads the hit that stands at `span` of an answer; what orders it within its query is not looked at again.
    pub fn read_at(bytes: &'a [u8], span: Range<usize>) -> Result<Self, MergeError> {
        let mut scanner = Scanner::within(bytes, span);
        Hit::read(&mut scanner, bytes, 0, &|_| Some(false)).map_err(|trouble| trouble.at_node(0))
    }

    fn read_federation(
        mut scanner: Scanner<'a>,
        node: usize,
        span: Range<usize>,
    ) -> Result<Self, Trouble> {
        let (mut index_uid, mut query, mut score, mut values, mut extra) =
            (None, None, None, None, None);
        scanner.object(|scanner, key, _| {
            match key.raw {
                b"indexUid" if scanner.peek() == Some(b'"') => index_uid = Some(scanner.value()?),
                b"queriesPosition" => query = scanner.unsigned()?,
                b"weightedRankingScore" => score = scanner.number()?,
                b"weightedScoreValues" => values = Some(Weighted::read_values(scanner)?),
                b"extra_document" if scanner.peek() == Some(b'{') => extra = Some(scanner.value()?),
                _ => {
                    scanner.value()?;
                }
            }
            Ok::<(), Trouble>(())
        })?;
        let query = query.and_then(|query| usize::try_from(query).ok());
        Ok(Hit {
            node,
            span,
            key: RankKey::default(),
            weighted: Weighted {
                values: values.ok_or(Trouble::Lacks("_federation.weightedScoreValues"))?,
                score: score.ok_or(Trouble::Lacks("_federation.weightedRankingScore"))?,
            },
            query: query.ok_or(Trouble::Lacks("_federation.queriesPosition"))?,
            index_uid: index_uid.ok_or(Trouble::Lacks("_federation.indexUid"))?,
            extra,
        })
    }
}

/// What is wrong with an answer.
enum Trouble {
    Malformed(Malformed),
    Rank(RankError),
    /// A hit does not say this.
    Lacks(&'static str),
}

impl Trouble {
    fn at_node(self, node: usize) -> MergeError {
        match self {
            Trouble::Malformed(error) => unreadable(node, error),
            Trouble::Rank(error) => error.at_node(node),
            Trouble::Lacks(what) => MergeError::bad(node, format!("a hit has no `{what}`")),
        }
    }
}

impl From<Malformed> for Trouble {
    fn from(error: Malformed) -> Self {
        Trouble::Malformed(error)
    }
}

impl From<RankError> for Trouble {
    fn from(error: RankError) -> Self {
        Trouble::Rank(error)
    }
}

/// `{"uid": {"distribution": {...}, "stats": {...}}, ...}`
pub(crate) fn read_facets(scanner: &mut Scanner) -> Result<Vec<IndexFacets>, Malformed> {
    let mut list = Vec::new();
    scanner.object(|scanner, uid, start| {
        let node_uid = uid.decode().ok_or(Malformed { at: start })?.into_owned();
        let (mut distribution, mut stats) = (None, None);
        scanner.object(|scanner, key, _| {
            let is_object = scanner.peek() == Some(b'{');
            let span = scanner.value()?;
            match key.raw {
                b"distribution" if is_object => distribution = Some(span),
                b"stats" if is_object => stats = Some(span),
                _ => {}
            }
            Ok::<(), Malformed>(())
        })?;
        list.push(IndexFacets {
            node_uid,
            distribution,
            stats,
        });
        Ok::<(), Malformed>(())
    })?;
    Ok(list)
}

fn read_vectors(scanner: &mut Scanner) -> Result<Vec<QueryVector>, Malformed> {
    let mut list = Vec::new();
    scanner.object(|scanner, position, start| {
        let vector = scanner.value()?;
        list.push((start + 1..start + 1 + position.raw.len(), vector));
        Ok::<(), Malformed>(())
    })?;
    Ok(list)
}
