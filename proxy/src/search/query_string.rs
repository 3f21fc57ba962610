//! `GET /indexes/{uid}/search`: the same search, written as query parameters (MEILISEARCH B.1).

use serde_json::value::RawValue;
use serde_json::Value;

use super::hybrid::{Hybrid, Ratio};
use super::request::SearchBody;

/// Reads the parameters; `None` when one is unknown or has a value that only a node can judge.
pub fn parse(query: &str) -> Option<SearchBody> {
    let mut body = SearchBody::default();
    let (mut embedder, mut semantic_ratio) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match name.as_ref() {
            "q" => body.q = Some(value),
            "offset" => body.offset = Some(value.parse().ok()?),
            "limit" => body.limit = Some(value.parse().ok()?),
            "page" => body.page = Some(value.parse().ok()?),
            "hitsPerPage" => body.hits_per_page = Some(value.parse().ok()?),
            "attributesToRetrieve" => body.attributes_to_retrieve = Some(list(&value)),
            "filter" => body.filter = Some(filter(value)),
            "sort" => body.sort = Some(sort(&value)),
            "distinct" => body.distinct = Some(value),
            "showRankingScore" => body.show_ranking_score = Some(boolean(&value)?),
            "showRankingScoreDetails" => body.show_ranking_score_details = Some(boolean(&value)?),
            "showPerformanceDetails" => body.show_performance_details = Some(boolean(&value)?),
            "facets" => body.facets = raw_list(&value),
            "attributesToHighlight" => body.attributes_to_highlight = raw_list(&value),
            "highlightPreTag" => body.highlight_pre_tag = raw(&Value::String(value)),
            "highlightPostTag" => body.highlight_post_tag = raw(&Value::String(value)),
            "attributesToCrop" => body.attributes_to_crop = raw_list(&value),
            "cropLength" => body.crop_length = raw(&value.parse::<usize>().ok()?.into()),
            "cropMarker" => body.crop_marker = raw(&Value::String(value)),
            "showMatchesPosition" => body.show_matches_position = raw(&boolean(&value)?.into()),
            "matchingStrategy" => body.matching_strategy = raw(&Value::String(value)),
            "attributesToSearchOn" => body.attributes_to_search_on = raw_list(&value),
            "rankingScoreThreshold" => {
                body.ranking_score_threshold = raw(&value.parse::<f64>().ok()?.into())
            }
            "locales" => body.locales = raw_list(&value),
            "retrieveVectors" => body.retrieve_vectors = raw(&boolean(&value)?.into()),
            "vector" => body.vector = Some(vector(&value)?),
            "hybridEmbedder" => embedder = Some(value),
            "hybridSemanticRatio" => semantic_ratio = Some(Ratio::of(value.parse().ok()?)?),
            _ => return None,
        }
    }
    body.hybrid = match embedder {
        Some(embedder) => Some(Hybrid {
            embedder,
            semantic_ratio,
        }),
        None if semantic_ratio.is_some() || body.vector.is_some() => return None,
        None => None,
    };
    Some(body)
}

/// A comma list of numbers.
fn vector(value: &str) -> Option<Box<RawValue>> {
    let numbers = list(value)
        .iter()
        .map(|number| number.trim().parse::<f32>().ok().filter(|n| n.is_finite()))
        .collect::<Option<Vec<f32>>>()?;
    serde_json::value::to_raw_value(&numbers).ok()
}

/// A comma list; an empty value is an empty list.
pub fn list(value: &str) -> Vec<String> {
    if value.is_empty() {
        Vec::new()
    } else {
        value.split(',').map(str::to_owned).collect()
    }
}

/// JSON where it is JSON (arrays), the text itself otherwise.
pub fn filter(value: String) -> Value {
    match serde_json::from_str(&value) {
        Ok(json) => json,
        Err(_) => Value::String(value),
    }
}

/// A comma list in which `_geoPoint(12.5,-3):asc` stays one item.
pub fn sort(value: &str) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    let mut open = false;
    for part in value.split(',') {
        match rules.last_mut() {
            Some(rule) if open => {
                rule.push(',');
                rule.push_str(part);
            }
            _ => rules.push(part.trim().to_owned()),
        }
        if part.contains('(') {
            open = true;
        }
        if part.contains(')') {
            open = false;
        }
    }
    rules
}

fn boolean(value: &str) -> Option<bool> {
    value.parse().ok()
}

fn raw(value: &Value) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

fn raw_list(value: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(&list(value)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_become_the_posts_body() {
        let body = parse(
            "q=rain+coat&limit=3&filter=a%20%3D%201&sort=price:asc,_geoPoint(1.5,2):desc,x:asc&facets=a,b&rankingScoreThreshold=0.5",
        )
        .unwrap();
        assert_eq!(
            serde_json::to_value(&body).unwrap(),
            json!({"q": "rain coat", "limit": 3, "filter": "a = 1",
                "sort": ["price:asc", "_geoPoint(1.5,2):desc", "x:asc"],
                "facets": ["a", "b"], "rankingScoreThreshold": 0.5})
        );
        assert_eq!(
            parse("filter=[\"a=1\",[\"b=2\"]]").unwrap().filter.unwrap(),
            json!(["a=1", ["b=2"]])
        );
        let body = parse("q=a&vector=1,-0.5&hybridEmbedder=e&hybridSemanticRatio=0.25").unwrap();
        assert_eq!(
            serde_json::to_value(&body).unwrap(),
            json!({"q": "a", "vector": [1.0, -0.5], "hybrid": {"embedder": "e", "semanticRatio": 0.25}})
        );
        assert!(parse("vector=1").is_none());
        assert!(parse("hybridEmbedder=e&hybridSemanticRatio=1.5").is_none());
        assert!(parse("what=1").is_none());
        assert!(parse("limit=x").is_none());
    }
}
