//! Asking again, where the distinct attribute has several values in one document.
//!
//! A node drops duplicates by itself, also those of a hit that is then dropped because of another node's ([`Unsettled`]). The merge
//! tells up to where its list is right all the same. So nodes are asked once more, for documents that have none of the values of
//! what is settled, until all of the page is. Totals and facets stay those of the first answers.

use miroir_api::Error;
use miroir_merge::{Merged, Unsettled};
use miroir_metrics::Counter;
use miroir_router::{and_also, RoutingTable};

use super::counting::can_be_filtered_by;
use super::request::SearchBody;
use super::{By, Collected, Search};
use crate::core::App;
use crate::scatter::Leg;

pub static SETTLING_ROUNDS: Counter = Counter::new(
    "miroir_distinct_rounds_total",
    "Further rounds of searches whose distinct attribute has several values in one document.",
);

/// So often a search is asked again at most. What is not settled then stays as it is, which is a choice of hits without
/// duplicates.
const ROUNDS_MAX: usize = 24;
/// Values in a filter.
const VALUES_MAX: usize = 1000;

impl Search<'_> {
    /// What came back for what may be missing in the merged list; `None`: nothing is missing, or it cannot be asked for.
    pub(super) async fn settle(
        &self,
        app: &App,
        table: &RoutingTable,
        merged: &Merged,
        rounds: usize,
    ) -> Result<Option<Collected>, Error> {
        let unsettled = merged.unsettled.as_deref();
        let Some(searches) = unsettled.and_then(|unsettled| self.narrowed(unsettled, rounds))
        else {
            return Ok(None);
        };
        SETTLING_ROUNDS.add(1);
        let asks = searches
            .iter()
            .map(|body| self.planned.ask_as(body, app, self.index));
        let legs: Vec<Leg> = asks.map(|ask| self.leg(self.seed(), ask)).collect();
        // The filter is ours: where nodes refuse it, the list is left as it is.
        match app.run_legs(table, &legs).await {
            Ok(gathered) => self.collect(app, gathered.into_iter()).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// What nodes are asked for hits, without documents that have a value of what is settled.
    fn narrowed(&self, unsettled: &Unsettled, rounds: usize) -> Option<Vec<SearchBody>> {
        let field = self.planned.distinct.as_deref()?;
        if rounds >= ROUNDS_MAX || !can_be_filtered_by(field, &self.index.settings) {
            return None;
        }
        let filter = without(field, &unsettled.values)?;
        let searches = match (&self.by, &self.frequency) {
            (By::Both(_), _) => return None,
            (By::Words, Some(frequency)) if self.levels() > 0 => frequency.searches(),
            _ => std::slice::from_ref(&self.planned.node_body),
        };
        let narrow = |body: &SearchBody| SearchBody {
            filter: Some(and_also(body.filter.clone(), filter.clone())),
            limit: body
                .limit
                .map(|limit| limit.saturating_sub(unsettled.settled)),
            hits_per_page: body
                .hits_per_page
                .map(|hits| hits.saturating_sub(unsettled.settled)),
            facets: None,
            ..body.clone()
        };
        Some(searches.iter().map(narrow).collect())
    }
}

/// A filter for documents that have none of these values, whether numbers or texts; `None`: no filter can name one of them, or too many.
pub(super) fn without(field: &str, values: &[(bool, String)]) -> Option<String> {
    if values.len() > VALUES_MAX {
        return None;
    }
    let mut filter = format!("NOT \"{field}\" IN [");
    for (is_number, value) in values {
        // A filter compares with numbers and texts alike: so the number is spelt as no text is, and a text must not be a number's.
        let number = value.parse::<f64>().is_ok_and(f64::is_finite);
        let odd = value.is_empty() || value.contains(['"', '\\']) || value.trim() != value;
        if number != *is_number || odd {
            return None;
        }
        let exponent = if number { "e000000" } else { "" };
        filter.extend(["\"", value, exponent, "\","]);
    }
    filter.pop();
    filter.push(']');
    Some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_without_values() {
        let values = |values: &[(bool, &str)]| {
            let values: Vec<(bool, String)> = values
                .iter()
                .map(|(number, value)| (*number, value.to_string()))
                .collect();
            without("a.b", &values)
        };
        assert_eq!(
            values(&[(false, "red 'x'"), (true, "-0.5"), (false, "true")]).unwrap(),
            r#"NOT "a.b" IN ["red 'x'","-0.5e000000","true"]"#
        );
        assert_eq!("-0.5e000000".parse(), Ok(-0.5));
        for odd in [(false, "1"), (false, "a\"b"), (false, ""), (true, "inf")] {
            assert_eq!(values(&[odd]), None, "{odd:?}");
        }
        assert_eq!(values(&vec![(false, "a"); VALUES_MAX + 1]), None);
    }
}
