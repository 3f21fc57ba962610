//! From document numbers to hits: which fields are shown, what is highlighted and cropped, where the matches are.
//!
//! What is the same for all hits of an answer (names, formats, the tokenizer) is worked out once, in [`HitMaker`].
//! Follows `HitMaker` in `crates/meilisearch/src/search/mod.rs` at 1.15.1.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use heed::RoTxn;
use milli_core as milli;
use milli_core::constants::RESERVED_VECTORS_FIELD_NAME;
use milli_core::index::IndexEmbeddingConfig;
use milli_core::score_details::ScoreDetails;
use milli_core::tokenizer::{Language, Tokenizer, TokenizerBuilder};
use milli_core::vector::parsed_vectors::ExplicitVectors;
use milli_core::{
    AscDesc, FieldId, FieldsIdsMap, FormatOptions, Index, InternalError, LocalizedAttributesRule,
    MatchBounds, MatcherBuilder, MatchingWords, PatternMatch,
};
use serde::Serialize;
use serde_json::Value;

use super::request::SearchQuery;
use super::select::{for_each_leaf, select, Object};

/// One document of an answer, with what was asked for about it.
#[derive(Clone, Debug, Serialize)]
pub struct SearchHit {
    #[serde(flatten)]
    pub document: Object,
    #[serde(rename = "_formatted", skip_serializing_if = "Object::is_empty")]
    pub formatted: Object,
    #[serde(rename = "_matchesPosition", skip_serializing_if = "Option::is_none")]
    pub matches_position: Option<MatchesPosition>,
    #[serde(rename = "_rankingScore", skip_serializing_if = "Option::is_none")]
    pub ranking_score: Option<f64>,
    #[serde(
        rename = "_rankingScoreDetails",
        skip_serializing_if = "Option::is_none"
    )]
    pub ranking_score_details: Option<Object>,
}

/// Where the query's words stand, by dotted field name; in bytes.
pub type MatchesPosition = BTreeMap<String, Vec<MatchBounds>>;

/// The hits of an answer, in the order of the search's result.
pub fn make_hits(
    index: &Index,
    rtxn: &RoTxn<'_>,
    query: &SearchQuery,
    result: milli::SearchResult,
) -> milli::Result<Vec<SearchHit>> {
    let words = Words::of(index, rtxn)?;
    let (dictionary, separators) = words.lists();
    let tokenizer = tokenizer(dictionary.as_deref(), separators.as_deref());

    let maker = HitMaker::new(index, rtxn, query, result.matching_words, tokenizer)?;
    let scores = result.document_scores.iter();
    result
        .documents_ids
        .iter()
        .zip(scores)
        .map(|(&id, scores)| maker.hit(id, scores))
        .collect()
}

/// The words that an index's settings tell the tokenizer.
pub struct Words {
    dictionary: Option<BTreeSet<String>>,
    separators: Option<BTreeSet<String>>,
}

impl Words {
    pub fn of(index: &Index, rtxn: &RoTxn<'_>) -> milli::Result<Words> {
        Ok(Words {
            dictionary: index.dictionary(rtxn)?,
            separators: index.allowed_separators(rtxn)?,
        })
    }

    /// Dictionary and separators as [`tokenizer`] wants them.
    pub fn lists(&self) -> (Option<Vec<&str>>, Option<Vec<&str>>) {
        fn list(words: &Option<BTreeSet<String>>) -> Option<Vec<&str>> {
            Some(words.as_ref()?.iter().map(String::as_str).collect())
        }
        (list(&self.dictionary), list(&self.separators))
    }
}

pub fn tokenizer<'t>(
    dictionary: Option<&'t [&'t str]>,
    separators: Option<&'t [&'t str]>,
) -> Tokenizer<'t> {
    let mut builder = TokenizerBuilder::default();
    // Highlighting needs to know which bytes of the original a normalised match covers.
    builder.create_char_map(true);
    if let Some(separators) = separators {
        builder.separators(separators);
    }
    if let Some(dictionary) = dictionary {
        builder.words_dict(dictionary);
    }
    builder.into_tokenizer()
}

/// Makes the hits of one query.
pub struct HitMaker<'a> {
    index: &'a Index,
    rtxn: &'a RoTxn<'a>,
    query: &'a SearchQuery,
    /// The point that hits are sorted around.
    geo_point: Option<[f64; 2]>,
    fields: FieldsIdsMap,
    /// The fields that may be shown at all.
    displayed: BTreeSet<FieldId>,
    /// Those of them that were asked for.
    retrieved: BTreeSet<FieldId>,
    /// Every field is displayed and asked for, so there is nothing to pick.
    everything: bool,
    vectors: Vectors,
    formats: BTreeMap<FieldId, FormatOptions>,
    matcher: MatcherBuilder<'a>,
    /// The languages that the client says its texts are in.
    languages: Option<Vec<Language>>,
    localized: Vec<LocalizedAttributesRule>,
}

/// What happens to `_vectors`, which are stored apart from the document.
enum Vectors {
    Hide,
    Retrieve(Vec<IndexEmbeddingConfig>),
}

impl<'a> HitMaker<'a> {
    pub fn new(
        index: &'a Index,
        rtxn: &'a RoTxn<'a>,
        query: &'a SearchQuery,
        matching_words: MatchingWords,
        tokenizer: Tokenizer<'a>,
    ) -> milli::Result<Self> {
        let mut matcher = MatcherBuilder::new(matching_words, tokenizer);
        matcher.crop_marker(query.crop_marker.clone());
        matcher.highlight_prefix(query.highlight_pre_tag.clone());
        matcher.highlight_suffix(query.highlight_post_tag.clone());

        let fields = index.fields_ids_map(rtxn)?;
        let listed: Option<BTreeSet<FieldId>> = index
            .displayed_fields_ids(rtxn)?
            .map(|ids| ids.into_iter().collect());
        let vectors = if query.retrieve_vectors
            && !vectors_are_hidden(index, rtxn, &fields, listed.as_ref())?
        {
            Vectors::Retrieve(index.embedding_configs(rtxn)?)
        } else {
            Vectors::Hide
        };

        let displays_all = listed.is_none();
        let displayed = listed.unwrap_or_else(|| fields.iter().map(|(id, _)| id).collect());
        let wanted = query.attributes_to_retrieve.as_deref();
        let retrieves_all = wanted.is_none_or(|names| names.iter().any(|name| name == "*"));
        let retrieved = if retrieves_all {
            displayed.clone()
        } else {
            let ids = wanted
                .unwrap_or_default()
                .iter()
                .filter_map(|name| fields.id(name));
            ids.filter(|id| displayed.contains(id)).collect()
        };
        let formats = formats(query, &fields, &displayed, &retrieved);

        Ok(HitMaker {
            index,
            rtxn,
            query,
            geo_point: geo_point(query),
            fields,
            displayed,
            retrieved,
            everything: displays_all && retrieves_all,
            vectors,
            formats,
            matcher,
            languages: query
                .locales
                .as_ref()
                .map(|locales| locales.iter().map(|&locale| locale.into()).collect()),
            localized: index.localized_attributes_rules(rtxn)?.unwrap_or_default(),
        })
    }

    /// What a document has under `names` and its hit does not show.
    pub fn hidden(&self, id: u32, names: &BTreeSet<String>) -> milli::Result<Object> {
        let shown = |name: &str| {
            self.fields
                .id(name)
                .is_none_or(|id| self.retrieved.contains(&id))
        };
        let names: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !shown(name))
            .collect();
        if names.is_empty() {
            return Ok(Object::new());
        }
        let stored = milli::all_obkv_to_json(self.index.document(self.rtxn, id)?, &self.fields)?;
        Ok(select(&stored, &names))
    }

    pub fn hit(&self, id: u32, scores: &[ScoreDetails]) -> milli::Result<SearchHit> {
        let stored = milli::all_obkv_to_json(self.index.document(self.rtxn, id)?, &self.fields)?;
        // A key with a dot is read in two ways when fields are picked; only without one is "everything" the document.
        let everything = self.everything && !stored.keys().any(|key| key.contains('.'));
        let displayed = if everything {
            stored
        } else {
            select(&stored, &self.names(&self.displayed))
        };
        let (matches_position, formatted) = self.format(&displayed);

        let mut document = if everything {
            displayed
        } else {
            select(&displayed, &self.names(self.retrieved_with_vectors()))
        };
        self.place_vectors(id, &mut document)?;
        self.place_geo_distance(&mut document);

        Ok(SearchHit {
            document,
            formatted,
            matches_position,
            ranking_score: self
                .query
                .show_ranking_score
                .then(|| ScoreDetails::global_score(scores.iter())),
            ranking_score_details: self
                .query
                .show_ranking_score_details
                .then(|| ScoreDetails::to_json_map(scores.iter())),
        })
    }

    /// `_formatted` and `_matchesPosition` of a document that holds the displayed fields.
    fn format(&self, displayed: &Object) -> (Option<MatchesPosition>, Object) {
        let mut positions = self.query.show_matches_position.then(MatchesPosition::new);
        if self.formats.is_empty() && positions.is_none() {
            return (None, Object::new());
        }
        let active: Vec<(&str, FormatOptions)> = self
            .formats
            .iter()
            .filter(|(_, options)| options.should_format())
            .filter_map(|(&id, &options)| Some((self.fields.name(id)?, options)))
            .collect();

        let mut document = displayed.clone();
        for_each_leaf(
            &mut document,
            &self.names(&self.displayed),
            &mut |path, indices, value| {
                let mut found = Vec::new();
                let bounds = positions.is_some().then_some(&mut found);
                self.format_leaf(
                    value,
                    options_for(path, &active),
                    self.languages_of(path),
                    indices,
                    bounds,
                );
                if let Some(positions) = positions.as_mut().filter(|_| !found.is_empty()) {
                    // As in Meilisearch, the last matching element of an array replaces those before it.
                    positions.insert(path.to_owned(), found);
                }
            },
        );
        let formatted = select(&document, &self.names(self.formats.keys()));
        (positions, formatted)
    }

    /// Highlights and crops one text; numbers become texts, other scalars stay.
    fn format_leaf(
        &self,
        value: &mut Value,
        options: Option<FormatOptions>,
        languages: Option<&[Language]>,
        indices: &[usize],
        bounds: Option<&mut Vec<MatchBounds>>,
    ) {
        let text = match value.take() {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => {
                *value = other;
                return;
            }
        };
        let mut matcher = self.matcher.build(&text, languages);
        if let Some(bounds) = bounds {
            *bounds = matcher.matches(indices);
        }
        let formatted = options.map(|options| matcher.format(options).into_owned());
        *value = Value::String(formatted.unwrap_or(text));
    }

    /// The client's languages, otherwise those of the first rule about this field.
    fn languages_of(&self, path: &str) -> Option<&[Language]> {
        self.languages.as_deref().or_else(|| {
            let rule = self
                .localized
                .iter()
                .find(|rule| rule.match_str(path) == PatternMatch::Match)?;
            Some(rule.locales())
        })
    }

    fn names<'i>(&self, ids: impl IntoIterator<Item = &'i FieldId>) -> Vec<&str> {
        ids.into_iter()
            .filter_map(|&id| self.fields.name(id))
            .collect()
    }

    fn retrieved_with_vectors(&self) -> impl Iterator<Item = &FieldId> {
        let vectors = self.fields.id(RESERVED_VECTORS_FIELD_NAME);
        let show = matches!(self.vectors, Vectors::Retrieve(_));
        let extra = self
            .displayed
            .iter()
            .filter(move |&&id| show && Some(id) == vectors);
        self.retrieved.iter().chain(extra)
    }

    /// Takes `_vectors` out, or completes them with what the vector store holds.
    fn place_vectors(&self, id: u32, document: &mut Object) -> milli::Result<()> {
        let Vectors::Retrieve(configs) = &self.vectors else {
            // `shift_remove` keeps the order of the other fields.
            document.shift_remove(RESERVED_VECTORS_FIELD_NAME);
            return Ok(());
        };
        let mut vectors = match document.remove(RESERVED_VECTORS_FIELD_NAME) {
            Some(Value::Object(vectors)) => vectors,
            _ => Object::new(),
        };
        for (name, embeddings) in self.index.embeddings(self.rtxn, id)? {
            let config = configs.iter().find(|config| config.name == name);
            let user_provided = config.is_some_and(|config| config.user_provided.contains(id));
            let explicit = ExplicitVectors {
                embeddings: Some(embeddings.into()),
                regenerate: !user_provided,
            };
            vectors.insert(
                name,
                serde_json::to_value(explicit).map_err(InternalError::SerdeJson)?,
            );
        }
        document.insert(
            RESERVED_VECTORS_FIELD_NAME.to_owned(),
            Value::Object(vectors),
        );
        Ok(())
    }

    /// `_geoDistance`, in whole metres, where hits are sorted around a point and this one shows where it lies.
    fn place_geo_distance(&self, document: &mut Object) {
        let Some(base) = self.geo_point else { return };
        let Some(geo) = document.get("_geo") else {
            return;
        };
        let coordinates = coordinate(geo.get("lat")).zip(coordinate(geo.get("lng")));
        if let Some((lat, lng)) = coordinates {
            let metres = milli::distance_between_two_points(&base, &[lat, lng]).round();
            document.insert("_geoDistance".to_owned(), Value::from(metres as usize));
        }
    }
}

/// The first point that `sort` names; its rules have been checked by the search.
fn geo_point(query: &SearchQuery) -> Option<[f64; 2]> {
    let mut rules = query
        .sort
        .iter()
        .flatten()
        .filter_map(|rule| AscDesc::from_str(rule).ok());
    rules.find_map(|rule| rule.member().geo_point().copied())
}

fn coordinate(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Whether an explicit `displayedAttributes` hides the vectors.
///
/// Upstream's test is the wrong way round once `_vectors` is a known field (listed hides, unlisted shows); clients
/// see that, so it is kept.
fn vectors_are_hidden(
    index: &Index,
    rtxn: &RoTxn<'_>,
    fields: &FieldsIdsMap,
    listed: Option<&BTreeSet<FieldId>>,
) -> milli::Result<bool> {
    Ok(match (listed, fields.id(RESERVED_VECTORS_FIELD_NAME)) {
        (None, _) => false,
        (Some(listed), Some(id)) => listed.contains(&id),
        (Some(_), None) => !index
            .displayed_fields(rtxn)?
            .unwrap_or_default()
            .contains(&RESERVED_VECTORS_FIELD_NAME),
    })
}

/// How each field of `_formatted` is treated; empty where nothing valid was asked for.
fn formats(
    query: &SearchQuery,
    fields: &FieldsIdsMap,
    displayed: &BTreeSet<FieldId>,
    retrieved: &BTreeSet<FieldId>,
) -> BTreeMap<FieldId, FormatOptions> {
    let named = |name: &str| fields.id(name).filter(|id| displayed.contains(id));
    let mut formats: BTreeMap<FieldId, FormatOptions> = BTreeMap::new();
    for name in query.attributes_to_highlight.iter().flatten() {
        let all = displayed.iter().copied().filter(|_| name == "*");
        for id in all.chain(named(name)) {
            formats.entry(id).or_default().highlight = true;
        }
    }
    for attribute in query.attributes_to_crop.iter().flatten() {
        // `overview:20` has its own length; a length that is no number is the default one.
        let (name, length) = match attribute.rsplit_once(':') {
            Some((name, length)) => (name, length.parse().unwrap_or(query.crop_length)),
            None => (attribute.as_str(), query.crop_length),
        };
        let all = displayed.iter().copied().filter(|_| name == "*");
        for id in all.chain(named(name)) {
            formats.entry(id).or_default().crop = Some(length);
        }
    }
    if !formats.is_empty() {
        for &id in retrieved {
            formats.entry(id).or_default();
        }
    }
    formats
}

/// What the fields above and below `path` ask for, together: `doggo` highlighted and `doggo.name` cropped make
/// `doggo.name` both.
fn options_for(path: &str, active: &[(&str, FormatOptions)]) -> Option<FormatOptions> {
    active
        .iter()
        .filter(|(name, _)| milli::is_faceted_by(name, path) || milli::is_faceted_by(path, name))
        .map(|&(_, options)| options)
        .reduce(FormatOptions::merge)
}
