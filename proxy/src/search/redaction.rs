//! Ranking details of fields that clients may not see, as one node tells them (milli `score_details.rs`): nodes display some of them
//! for the merge (`also_displayed`).

use miroir_api::Error;
use miroir_merge::Merged;
use miroir_router::SearchSettings;
use serde_json::value::RawValue;
use serde_json::{json, Value};

use super::raw::Object;

/// Whether hits tell more than a client may see, where details are shown.
pub fn redacts(settings: &SearchSettings) -> bool {
    !settings.also_displayed.is_empty()
}

/// Hides values in the ranking details of an answer's hits; `settings` are those of a hit's index.
pub fn redact<'s>(
    merged: Merged,
    settings: impl Fn(&Object) -> Option<&'s SearchSettings>,
) -> Result<Merged, Error> {
    let mut answer: Object = serde_json::from_slice(&merged.to_bytes())
        .map_err(|error| Error::internal(format!("hits: {error}")))?;
    let mut hits: Vec<Object> = answer.read("hits").unwrap_or_default();
    for hit in &mut hits {
        let details: Option<Object> = hit.read("_rankingScoreDetails");
        if let (Some(mut details), Some(settings)) = (details, settings(hit)) {
            for (rule, value) in &mut details.0 {
                hide_value(rule, value, settings);
            }
            hit.set("_rankingScoreDetails", &details);
        }
    }
    answer.set("hits", &hits);
    Ok(Merged::from(answer.to_bytes()))
}

fn hide_value(rule: &mut String, value: &mut Box<RawValue>, settings: &SearchSettings) {
    let Some((field, _)) = rule.rsplit_once(':') else {
        return;
    };
    if !settings.hides_exactly(field) {
        return;
    }
    let told: Value = serde_json::from_str(value.get()).unwrap_or_default();
    let order = &told["order"];
    *rule = format!("<hidden-rule-{order}>");
    if let Ok(hidden) =
        serde_json::value::to_raw_value(&json!({ "order": order, "value": "<hidden>" }))
    {
        *value = hidden;
    }
}
