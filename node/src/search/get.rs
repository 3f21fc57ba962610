//! The query string of `GET /indexes/{uid}/search`: everything is text, and lists are separated by commas.

use deserr::{take_cf_content, DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError};
use deserr::{ValueKind, ValuePointerRef};
use miroir_api::Error;
use serde_json::Value;

use super::codes::*;
use super::request::{
    default_crop_marker, default_highlight_post_tag, default_highlight_pre_tag, HybridQuery,
    MatchingStrategy, ScoreThreshold, SearchQuery, SemanticRatio, DEFAULT_CROP_LENGTH,
    DEFAULT_LIMIT, DEFAULT_SEMANTIC_RATIO,
};
use crate::deserialize::{read_query, Param, QueryRejection, Reason};
use crate::error::coded;
use crate::settings::Locale;

/// Reads the query string of a search (without its `?`).
///
/// Errors: 400 with the code of the parameter that is wrong, `missing_search_hybrid` for a vector without embedder.
pub fn parse_search_get(query: &str) -> Result<SearchQuery, Error> {
    read_query::<SearchParameters>(query)?.into_query()
}

/// The parameters in the order in which an "Unknown parameter" message lists them.
#[derive(Deserr)]
#[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
struct SearchParameters {
    #[deserr(default, error = QueryRejection<InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidSearchVector>)]
    vector: Option<CommaList<f32>>,
    #[deserr(default, error = QueryRejection<InvalidSearchOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryRejection<InvalidSearchLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryRejection<InvalidSearchPage>)]
    page: Option<Param<usize>>,
    #[deserr(default, error = QueryRejection<InvalidSearchHitsPerPage>)]
    hits_per_page: Option<Param<usize>>,
    #[deserr(default, error = QueryRejection<InvalidSearchAttributesToRetrieve>)]
    attributes_to_retrieve: Option<CommaList<String>>,
    #[deserr(default, error = QueryRejection<InvalidSearchRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSearchAttributesToCrop>)]
    attributes_to_crop: Option<CommaList<String>>,
    #[deserr(default = Param(DEFAULT_CROP_LENGTH), error = QueryRejection<InvalidSearchCropLength>)]
    crop_length: Param<usize>,
    #[deserr(default, error = QueryRejection<InvalidSearchAttributesToHighlight>)]
    attributes_to_highlight: Option<CommaList<String>>,
    #[deserr(default, error = QueryRejection<InvalidSearchFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidSearchSort>)]
    sort: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidSearchDistinct>)]
    distinct: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidSearchShowMatchesPosition>)]
    show_matches_position: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSearchShowRankingScore>)]
    show_ranking_score: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSearchShowRankingScoreDetails>)]
    show_ranking_score_details: Param<bool>,
    #[deserr(default, error = QueryRejection<InvalidSearchFacets>)]
    facets: Option<CommaList<String>>,
    #[deserr(default = default_highlight_pre_tag(), error = QueryRejection<InvalidSearchHighlightPreTag>)]
    highlight_pre_tag: String,
    #[deserr(default = default_highlight_post_tag(), error = QueryRejection<InvalidSearchHighlightPostTag>)]
    highlight_post_tag: String,
    #[deserr(default = default_crop_marker(), error = QueryRejection<InvalidSearchCropMarker>)]
    crop_marker: String,
    #[deserr(default, error = QueryRejection<InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = QueryRejection<InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<CommaList<String>>,
    #[deserr(default, error = QueryRejection<InvalidSearchEmbedder>)]
    hybrid_embedder: Option<String>,
    #[deserr(default, error = QueryRejection<InvalidSearchSemanticRatio>)]
    hybrid_semantic_ratio: Option<SemanticRatioText>,
    #[deserr(default, error = QueryRejection<InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<ScoreThresholdText>,
    #[deserr(default, error = QueryRejection<InvalidSearchLocales>)]
    locales: Option<CommaList<Locale>>,
}

impl SearchParameters {
    fn into_query(self) -> Result<SearchQuery, Error> {
        let hybrid = hybrid(self.hybrid_embedder, self.hybrid_semantic_ratio)?;
        if self.vector.is_some() && hybrid.is_none() {
            return Err(coded(
                "missing_search_hybrid",
                "`hybridEmbedder` is mandatory when `vector` is present",
            ));
        }
        Ok(SearchQuery {
            q: self.q,
            vector: self.vector.map(|list| list.0),
            hybrid,
            offset: self.offset.0,
            limit: self.limit.0,
            page: self.page.map(|page| page.0),
            hits_per_page: self.hits_per_page.map(|hits| hits.0),
            attributes_to_retrieve: self.attributes_to_retrieve.map(|list| list.0),
            retrieve_vectors: self.retrieve_vectors.0,
            attributes_to_crop: self.attributes_to_crop.map(|list| list.0),
            crop_length: self.crop_length.0,
            attributes_to_highlight: self.attributes_to_highlight.map(|list| list.0),
            show_matches_position: self.show_matches_position.0,
            show_ranking_score: self.show_ranking_score.0,
            show_ranking_score_details: self.show_ranking_score_details.0,
            filter: self.filter.map(filter_value),
            sort: self.sort.as_deref().map(sort_list),
            distinct: self.distinct,
            facets: self.facets.map(|list| list.0),
            highlight_pre_tag: self.highlight_pre_tag,
            highlight_post_tag: self.highlight_post_tag,
            crop_marker: self.crop_marker,
            matching_strategy: self.matching_strategy,
            attributes_to_search_on: self.attributes_to_search_on.map(|list| list.0),
            ranking_score_threshold: self.ranking_score_threshold.map(|text| text.0),
            locales: self.locales.map(|list| list.0),
        })
    }
}

fn hybrid(
    embedder: Option<String>,
    ratio: Option<SemanticRatioText>,
) -> Result<Option<HybridQuery>, Error> {
    match (embedder, ratio) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(coded(
            "invalid_search_hybrid_query",
            "`hybridEmbedder` is mandatory when `hybridSemanticRatio` is present",
        )),
        (Some(embedder), ratio) => {
            let semantic_ratio = ratio.map_or(DEFAULT_SEMANTIC_RATIO, |text| text.0);
            Ok(Some(HybridQuery {
                semantic_ratio,
                embedder,
            }))
        }
    }
}

/// A filter may be JSON (an array of conditions) or a bare expression; what does not parse as JSON is the latter.
pub fn filter_value(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Splits `sort` at its commas, but keeps the one inside `_geoPoint(lat,lng)`.
pub fn sort_list(text: &str) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    let mut inside_point = false;
    for part in text.trim_matches('"').split(',').map(str::trim) {
        match rules.last_mut().filter(|_| inside_point) {
            // A second `_geoPoint(` starts a new rule even where the one before was never closed.
            Some(rule) if !part.starts_with("_geoPoint(") => {
                rule.push(',');
                rule.push_str(part);
                inside_point = !(part.ends_with("):asc") || part.ends_with("):desc"));
            }
            _ => {
                inside_point = part.starts_with("_geoPoint(");
                rules.push(part.to_owned());
            }
        }
    }
    rules
}

/// A list in one parameter, `a,b,c`. Empty places are skipped: `a,,b` has two elements, an empty text none.
pub struct CommaList<T>(pub Vec<T>);

/// How one element of a list is read; the reason is Meilisearch's wording.
pub trait Element: Sized {
    fn read(text: &str) -> Result<Self, String>;
}

impl Element for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Element for f32 {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|error: std::num::ParseFloatError| error.to_string())
    }
}

impl Element for Locale {
    fn read(text: &str) -> Result<Self, String> {
        let value = Value::String(text.to_owned());
        deserr::deserialize::<Locale, _, KnownNames>(value).map_err(|KnownNames(mut names)| {
            names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            format!(
                "Unsupported locale `{text}`, expected one of {}",
                names.join(", ")
            )
        })
    }
}

impl<T: Element, E: DeserializeError> Deserr<E> for CommaList<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef,
    ) -> Result<Self, E> {
        let kind = match value {
            deserr::Value::String(text) => {
                let elements = text.split(',').filter(|part| !part.is_empty()).map(T::read);
                match elements.collect() {
                    Ok(list) => return Ok(CommaList(list)),
                    Err(msg) => ErrorKind::Unexpected { msg },
                }
            }
            actual => ErrorKind::IncorrectValueKind {
                actual,
                accepted: &[ValueKind::String],
            },
        };
        Err(take_cf_content(E::error::<V>(None, kind, at)))
    }
}

/// Keeps the names that an enum accepts, to word its refusal differently.
struct KnownNames(Vec<String>);

impl DeserializeError for KnownNames {
    fn error<V: IntoValue>(
        _: Option<Self>,
        error: ErrorKind<V>,
        _: ValuePointerRef,
    ) -> std::ops::ControlFlow<Self, Self> {
        let names = match error {
            ErrorKind::UnknownValue { accepted, .. } => {
                accepted.iter().map(|&name| name.to_owned()).collect()
            }
            _ => Vec::new(),
        };
        std::ops::ControlFlow::Break(KnownNames(names))
    }
}

impl MergeWithError<KnownNames> for KnownNames {
    fn merge(
        _: Option<Self>,
        other: KnownNames,
        _: ValuePointerRef,
    ) -> std::ops::ControlFlow<Self, Self> {
        std::ops::ControlFlow::Break(other)
    }
}

#[derive(Deserr)]
#[deserr(try_from(String) = SemanticRatioText::read -> Reason)]
struct SemanticRatioText(SemanticRatio);

impl SemanticRatioText {
    fn read(text: String) -> Result<Self, Reason> {
        let ratio = text.parse().map_err(|_| SemanticRatio::invalid())?;
        SemanticRatio::new(ratio).map(SemanticRatioText)
    }
}

#[derive(Deserr)]
#[deserr(try_from(String) = ScoreThresholdText::read -> Reason)]
pub struct ScoreThresholdText(pub ScoreThreshold);

impl ScoreThresholdText {
    fn read(text: String) -> Result<Self, Reason> {
        let score = text.parse().map_err(|_| ScoreThreshold::invalid())?;
        ScoreThreshold::new(score).map(ScoreThresholdText)
    }
}

#[cfg(test)]
mod tests {
    use milli_core::tokenizer::Language;

    use super::*;

    fn refused(query: &str) -> (String, String) {
        let error = parse_search_get(query).unwrap_err();
        (error.code.into_owned(), error.message)
    }

    #[test]
    fn lists_are_split_and_points_joined_again() {
        let query = parse_search_get(
            "q=a%20b&facets=x,,y&sort=title:asc,_geoPoint(48.1,%202.2):desc,id:asc&offset=3&page=2&locales=fra,en",
        )
        .unwrap();
        assert_eq!(query.q.as_deref(), Some("a b"));
        assert_eq!(query.facets.unwrap(), ["x", "y"]);
        assert_eq!(
            query.sort.unwrap(),
            ["title:asc", "_geoPoint(48.1,2.2):desc", "id:asc"]
        );
        assert_eq!((query.offset, query.limit, query.page), (3, 20, Some(2)));
        let locales: Vec<Language> = query
            .locales
            .unwrap()
            .into_iter()
            .map(Language::from)
            .collect();
        assert_eq!(locales, [Language::Fra, Language::Eng]);
    }

    #[test]
    fn a_filter_is_json_or_an_expression() {
        let json = parse_search_get("filter=[%22a=1%22]").unwrap();
        assert_eq!(json.filter, Some(serde_json::json!(["a=1"])));
        let bare = parse_search_get("filter=a%20=%201").unwrap();
        assert_eq!(bare.filter, Some(serde_json::json!("a = 1")));
    }

    #[test]
    fn refusals_are_worded_for_parameters() {
        assert_eq!(
            refused("limit=doggo"),
            (
                "invalid_search_limit".to_owned(),
                "Invalid value in parameter `limit`: could not parse `doggo` as a positive integer"
                    .to_owned()
            )
        );
        assert_eq!(
            refused("matchingStrategy=doggo").1,
            "Unknown value `doggo` for parameter `matchingStrategy`: expected one of `last`, `all`, `frequency`"
        );
        let (code, message) = refused("locales=invalid");
        assert_eq!(code, "invalid_search_locales");
        assert!(message.starts_with(
            "Invalid value in parameter `locales`: Unsupported locale `invalid`, expected one of af, ak, am"
        ));
        assert!(message.ends_with("yid, zho, zul"));
        assert!(refused("doggo=1").1.starts_with(
            "Unknown parameter `doggo`: expected one of `q`, `vector`, `offset`, `limit`, `page`"
        ));
        assert_eq!(
            refused("rankingScoreThreshold=1.1").0,
            "invalid_search_ranking_score_threshold"
        );
    }

    #[test]
    fn half_a_hybrid_search_is_refused() {
        assert_eq!(
            refused("hybridSemanticRatio=0.5").0,
            "invalid_search_hybrid_query"
        );
        assert_eq!(refused("vector=1,2").0, "missing_search_hybrid");
    }
}
