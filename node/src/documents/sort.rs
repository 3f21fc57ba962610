//! Documents in the order of their values.
//!
//! Sorting the list of documents came with Meilisearch 1.16, and this engine has nothing for it. The order is that of
//! `crates/milli/src/documents/sort.rs` at 1.50: numbers before texts; of several values the smallest counts ascending,
//! the largest descending; texts are compared as facets are; equal documents stay in the order of their internal ids.
//! Documents without a value come last both ways, here also those where it is `null` or an empty list.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::str::FromStr;

use milli_core as milli;
use milli_core::heed::types::Bytes;
use milli_core::heed::RoTxn;
use milli_core::score_details::WeightedScoreValue;
use milli_core::{AscDesc, DocumentId, FieldId, Index, Member, Object, SortError};
use miroir_api::Error;
use roaring::RoaringBitmap;
use serde_json::{json, Value};

use crate::error::{coded, heed_error};
use crate::search::{facet_values, FacetValue};

/// Documents whose distances differ by no more metres are equally far, as for a search.
const SAME_DISTANCE_METRES: f64 = 1.0;

/// No more documents are ever equally far.
const SAME_DISTANCE_MAX: usize = 1000;

/// The rules of a `sort`. Errors: 400 `invalid_document_sort`.
pub fn parse(rules: &[String]) -> Result<Vec<AscDesc>, Error> {
    let rules: Result<_, _> = rules.iter().map(|rule| AscDesc::from_str(rule)).collect();
    rules.map_err(|error| coded("invalid_document_sort", SortError::from(error).to_string()))
}

/// `documents` in the order of `rules`.
///
/// Errors: 400 `invalid_document_sort` for a field that is not sortable.
pub fn sorted(
    index: &Index,
    rtxn: &RoTxn,
    rules: &[AscDesc],
    documents: &RoaringBitmap,
) -> Result<Vec<DocumentId>, Error> {
    let keys = rules
        .iter()
        .filter_map(|rule| Key::of(rule, index, rtxn).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let mut sorter = Sorter {
        index,
        rtxn,
        geo: index.geo_faceted_documents_ids(rtxn).map_err(heed_error)?,
        sorted: Vec::with_capacity(documents.len() as usize),
    };
    sorter.sort(documents.iter().collect(), &keys)?;
    Ok(sorter.sorted)
}

/// What a rule looks at.
enum Key {
    Field {
        id: FieldId,
        ascending: bool,
    },
    Distance {
        fields: [FieldId; 2],
        from: [f64; 2],
        ascending: bool,
    },
}

impl Key {
    /// `None` for a field that no document has.
    fn of(rule: &AscDesc, index: &Index, rtxn: &RoTxn) -> Result<Option<Key>, Error> {
        let sortable = index.sortable_fields(rtxn).map_err(heed_error)?;
        let sortable: BTreeSet<String> = sortable.into_iter().collect();
        let ids = index.fields_ids_map(rtxn).map_err(heed_error)?;
        let ascending = matches!(rule, AscDesc::Asc(_));
        match rule.member() {
            Member::Field(field) if milli::is_faceted(field, &sortable) => {
                Ok(ids.id(field).map(|id| Key::Field { id, ascending }))
            }
            Member::Field(field) => Err(not_sortable(field, &sortable)),
            // As upstream, a point is refused too while no document has one.
            Member::Geo(from) => match (ids.id("_geo.lat"), ids.id("_geo.lng")) {
                (Some(lat), Some(lng)) if sortable.contains("_geo") => Ok(Some(Key::Distance {
                    fields: [lat, lng],
                    from: *from,
                    ascending,
                })),
                _ => Err(not_sortable("_geo", &sortable)),
            },
        }
    }
}

fn not_sortable(field: &str, sortable: &BTreeSet<String>) -> Error {
    let rest = if sortable.is_empty() {
        "This index does not have configured sortable attributes.".to_owned()
    } else {
        let names: Vec<&str> = sortable.iter().map(String::as_str).collect();
        format!("Available sortable attributes are: `{}`.", names.join(", "))
    };
    let message = format!("Attribute `{field}` is not sortable. {rest}");
    coded("invalid_document_sort", message)
}

/// A value by which documents are compared; the order of the variants is theirs.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Number(f64),
    Text(String),
    Nowhere,
}

impl Place {
    fn cmp(&self, other: &Place, ascending: bool) -> Ordering {
        use Place::{Nowhere, Number, Text};
        let directed = |order: Ordering| if ascending { order } else { order.reverse() };
        match (self, other) {
            (Number(a), Number(b)) => directed(a.total_cmp(b)),
            (Text(a), Text(b)) => directed(a.cmp(b)),
            (Nowhere, Nowhere) => Ordering::Equal,
            (Number(_), _) | (Text(_), Nowhere) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

struct Sorter<'a> {
    index: &'a Index,
    rtxn: &'a RoTxn<'a>,
    /// The documents that lie somewhere.
    geo: RoaringBitmap,
    sorted: Vec<DocumentId>,
}

impl Sorter<'_> {
    /// Appends `documents`, ascending by id, in the order of `keys`.
    fn sort(&mut self, documents: Vec<DocumentId>, keys: &[Key]) -> Result<(), Error> {
        let Some((key, rest)) = keys.split_first().filter(|_| documents.len() > 1) else {
            self.sorted.extend(documents);
            return Ok(());
        };
        let ascending = match key {
            Key::Field { ascending, .. } | Key::Distance { ascending, .. } => *ascending,
        };
        let mut placed = Vec::with_capacity(documents.len());
        for id in documents {
            placed.push((self.place(id, key)?, id));
        }
        placed.sort_by(|(a, _), (b, _)| a.cmp(b, ascending));

        let mut placed = placed.into_iter().peekable();
        while let Some((first, id)) = placed.next() {
            let mut group = vec![id];
            while let Some((_, id)) =
                placed.next_if(|(next, _)| is_equal(key, &first, next, group.len()))
            {
                group.push(id);
            }
            group.sort_unstable();
            self.sort(group, rest)?;
        }
        Ok(())
    }

    fn place(&self, id: DocumentId, key: &Key) -> Result<Place, Error> {
        match key {
            Key::Field {
                id: field,
                ascending,
            } => self.value(id, *field, *ascending),
            Key::Distance { .. } if !self.geo.contains(id) => Ok(Place::Nowhere),
            Key::Distance { fields, from, .. } => {
                let mut point = [0.0; 2];
                for (coordinate, field) in point.iter_mut().zip(fields) {
                    *coordinate = match self.value(id, *field, true)? {
                        Place::Number(number) => number,
                        Place::Text(text) => text.parse().unwrap_or_default(),
                        Place::Nowhere => return Ok(Place::Nowhere),
                    };
                }
                Ok(Place::Number(milli::distance_between_two_points(
                    from, &point,
                )))
            }
        }
    }

    /// The value of a document that counts.
    fn value(&self, id: DocumentId, field: FieldId, ascending: bool) -> Result<Place, Error> {
        // The keys of both tables begin with the field and the document.
        let mut prefix = [0; 6];
        prefix[..2].copy_from_slice(&field.to_be_bytes());
        prefix[2..].copy_from_slice(&id.to_be_bytes());
        let mut best = None;
        let numbers = self.index.field_id_docid_facet_f64s;
        let found = numbers
            .remap_key_type::<Bytes>()
            .prefix_iter(self.rtxn, &prefix)
            .map_err(heed_error)?
            .remap_key_type::<milli::heed_codec::facet::FieldDocIdFacetF64Codec>();
        for entry in found {
            let ((_, _, number), ()) = entry.map_err(heed_error)?;
            keep_best(&mut best, Place::Number(number), ascending);
        }
        if let Some(number) = best {
            return Ok(number);
        }
        let texts = self.index.field_id_docid_facet_strings;
        let found = texts
            .remap_key_type::<Bytes>()
            .prefix_iter(self.rtxn, &prefix)
            .map_err(heed_error)?
            .remap_key_type::<milli::heed_codec::facet::FieldDocIdFacetStringCodec>();
        for entry in found {
            let ((_, _, text), _) = entry.map_err(heed_error)?;
            keep_best(&mut best, Place::Text(text.to_owned()), ascending);
        }
        Ok(best.unwrap_or(Place::Nowhere))
    }
}

fn is_equal(key: &Key, first: &Place, next: &Place, group: usize) -> bool {
    match (key, first, next) {
        (Key::Distance { .. }, Place::Number(first), Place::Number(next)) => {
            group < SAME_DISTANCE_MAX && (first - next).abs() <= SAME_DISTANCE_METRES
        }
        _ => first == next,
    }
}

fn keep_best(best: &mut Option<Place>, value: Place, ascending: bool) {
    let is_better = best
        .as_ref()
        .is_none_or(|best| value.cmp(best, ascending) == Ordering::Less);
    if is_better {
        *best = Some(value);
    }
}

/// What a proxy wants to know of a document: the values it was sorted by, in the form of a federated search.
pub fn federation_of(rules: &[AscDesc], document: &Object) -> Value {
    let values: Vec<WeightedScoreValue> =
        rules.iter().map(|rule| weighted(rule, document)).collect();
    json!({ "weightedScoreValues": values })
}

fn weighted(rule: &AscDesc, document: &Object) -> WeightedScoreValue {
    let asc = matches!(rule, AscDesc::Asc(_));
    let values = |field: &str| {
        let mut found = Vec::new();
        facet_values(document, field, &mut found);
        // As in the engine's tables: an empty text is no value, and sorts where nothing does.
        found.retain(|value| !matches!(value, FacetValue::Text(text) if text.is_empty()));
        found
    };
    match rule.member() {
        Member::Field(field) => {
            let place = |value: &FacetValue| match value {
                FacetValue::Number(number) => Place::Number(number.as_f64().unwrap_or_default()),
                FacetValue::Text(text) => Place::Text(text.clone()),
            };
            let best = values(field)
                .into_iter()
                .min_by(|a, b| place(a).cmp(&place(b), asc));
            let value = match best {
                Some(FacetValue::Number(number)) => Value::Number(number),
                Some(FacetValue::Text(text)) => Value::String(text),
                None => Value::Null,
            };
            WeightedScoreValue::Sort { asc, value }
        }
        Member::Geo(from) => {
            // As upstream, coordinates that are texts are not read here.
            let coordinate = |field| match values(field).pop() {
                Some(FacetValue::Number(number)) => number.as_f64(),
                _ => None,
            };
            let point = coordinate("_geo.lat").zip(coordinate("_geo.lng"));
            let distance =
                point.map(|(lat, lng)| milli::distance_between_two_points(from, &[lat, lng]));
            WeightedScoreValue::GeoSort { asc, distance }
        }
    }
}
