//! What clients may not see although nodes display it for the merge (`also_displayed`, ADR 5): it is not asked for, and what nodes
//! tell of it all the same is cut or covered.

use miroir_api::Error;
use miroir_merge::Merged;
use miroir_router::{covers, SearchSettings};
use serde_json::value::{to_raw_value, RawValue};
use serde_json::{json, Value};

use super::raw::{change_hits, Object};
use super::request::{without_length, SearchBody};

impl SearchBody {
    /// Asks for nothing but what clients may see, before anything else is asked for: nodes display more (`also_displayed`).
    pub fn hide(&mut self, settings: &SearchSettings) {
        let Some(list) = &settings.displayed_attributes else {
            return;
        };
        match &mut self.attributes_to_retrieve {
            Some(names) if !names.iter().any(|name| name == "*") => {
                names.retain(|name| touches(list, name));
            }
            all => *all = Some(list.clone()),
        }
        hide_in(&mut self.attributes_to_highlight, list);
        hide_in(&mut self.attributes_to_crop, list);
    }

    /// Fields that clients may not see, where nodes show them although nobody asked for them.
    pub(super) fn strays(&self, settings: &SearchSettings) -> Vec<String> {
        let asked = |field: &String| self.retrieved().any(|name| covers(&name, field));
        let hidden = settings.also_displayed.iter();
        let hidden = hidden.filter(|field| !settings.displays(field));
        let told = |field: &&String| self.show_matches_position.is_some() || asked(field);
        hidden.filter(told).cloned().collect()
    }
}

/// Whether some of these attributes is this one, lies in it, or holds it.
fn touches(list: &[String], name: &str) -> bool {
    list.iter()
        .any(|shown| covers(shown, name) || covers(name, shown))
}

/// Takes attributes that clients may not see out of those that they want highlighted or cropped.
fn hide_in(attributes: &mut Option<Box<RawValue>>, shown: &[String]) {
    let Some(raw) = attributes else {
        return;
    };
    let Ok(named) = serde_json::from_str::<Vec<String>>(raw.get()) else {
        return;
    };
    let allowed = named.iter().flat_map(|name| match name.strip_prefix('*') {
        Some(length) if length.is_empty() || length.starts_with(':') => {
            shown.iter().map(|name| format!("{name}{length}")).collect()
        }
        _ if touches(shown, without_length(name)) => vec![name.clone()],
        _ => Vec::new(),
    });
    *attributes = to_raw_value(&allowed.collect::<Vec<_>>()).ok();
}

/// Whether hits tell more than a client may see, where details are shown.
pub fn redacts(settings: &SearchSettings) -> bool {
    !settings.also_displayed.is_empty()
}

/// Hides values in the ranking details of an answer's hits; `settings` are those of a hit's index.
pub fn redact<'s>(
    merged: Merged,
    settings: impl Fn(&Object) -> Option<&'s SearchSettings>,
) -> Result<Merged, Error> {
    let cover = |hit: &mut Object| {
        let details: Option<Object> = hit.read("_rankingScoreDetails");
        if let (Some(mut details), Some(settings)) = (details, settings(hit)) {
            for (rule, value) in &mut details.0 {
                hide_value(rule, value, settings);
            }
            hit.set("_rankingScoreDetails", &details);
        }
        true
    };
    Ok(Merged::from(change_hits(&merged.to_bytes(), cover)?))
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
    if let Ok(hidden) = to_raw_value(&json!({ "order": order, "value": "<hidden>" })) {
        *value = hidden;
    }
}
