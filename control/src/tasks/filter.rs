//! The query of `GET /tasks`: parsed and checked as Meilisearch does, with its error texts.

use std::sync::Arc;

use miroir_api::body::unknown_parameter;
use miroir_api::Error;
use miroir_auth::IndexPattern;
use time::{macros::format_description, Date, Duration, OffsetDateTime, Time};

use super::{Kind, Status, TaskUid};
use crate::clock::{nanos_of, parse_rfc3339, Nanos};
use crate::indexes::check_uid;

/// Which tasks to list. `None` in a list means no restriction.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct TaskFilter {
    pub limit: u32,
    pub from: Option<TaskUid>,
    pub reverse: bool,
    pub uids: Option<Vec<TaskUid>>,
    pub batch_uids: Option<Vec<TaskUid>>,
    pub canceled_by: Option<Vec<TaskUid>>,
    pub kinds: Option<Vec<Kind>>,
    pub statuses: Option<Vec<Status>>,
    pub index_uids: Option<Vec<String>>,
    /// Only tasks of these indexes may be seen, and none that belongs to no index; `None`: every task.
    pub seen: Option<Arc<[IndexPattern]>>,
    /// Exclusive bounds on enqueued, started, finished.
    pub after: [Option<Nanos>; 3],
    pub before: [Option<Nanos>; 3],
    /// Only tasks that have begun.
    pub begun: bool,
}

const PARAMETERS: [&str; 15] = [
    "limit",
    "from",
    "reverse",
    "batchUids",
    "uids",
    "canceledBy",
    "types",
    "statuses",
    "indexUids",
    "afterEnqueuedAt",
    "beforeEnqueuedAt",
    "afterStartedAt",
    "beforeStartedAt",
    "afterFinishedAt",
    "beforeFinishedAt",
];

const SELECTING: [&str; 12] = [
    "uids",
    "batchUids",
    "canceledBy",
    "types",
    "statuses",
    "indexUids",
    "afterEnqueuedAt",
    "beforeEnqueuedAt",
    "afterStartedAt",
    "beforeStartedAt",
    "afterFinishedAt",
    "beforeFinishedAt",
];

/// The types that Meilisearch 1.50 knows, in the order of its messages. Some we never make: asking for them is lawful and
/// finds nothing.
const KIND_NAMES: [&str; 18] = [
    "documentAdditionOrUpdate",
    "documentEdition",
    "documentDeletion",
    "settingsUpdate",
    "indexCreation",
    "indexDeletion",
    "indexUpdate",
    "indexSwap",
    "taskCancelation",
    "taskDeletion",
    "dumpCreation",
    "snapshotCreation",
    "export",
    "upgradeDatabase",
    "indexCompaction",
    "networkTopologyChange",
    "dsrUpdate",
    "dsrClear",
];

impl TaskFilter {
    /// Parses a raw query string.
    pub(crate) fn parse(query: &str) -> Result<Self, Error> {
        let mut filter = TaskFilter {
            limit: 20,
            ..TaskFilter::default()
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !filter.set_page(&name, &value)? && !filter.select(&name, &value)? {
                return Err(unknown_parameter(&name, &PARAMETERS));
            }
        }
        Ok(filter)
    }

    /// Parses the query of a cancelation or deletion: no paging, and at least one filter.
    pub(crate) fn parse_selection(query: &str, verb: &str) -> Result<Self, Error> {
        let mut filter = TaskFilter::default();
        let mut any = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !filter.select(&name, &value)? {
                return Err(unknown_parameter(&name, &SELECTING));
            }
            any = true;
        }
        if any {
            return Ok(filter);
        }
        let message = format!(
            "Query parameters to filter the tasks to {verb} are missing. Available query parameters are: `uids`, \
             `indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, \
             `beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`."
        );
        Err(Error::invalid(400, "missing_task_filters", message))
    }

    /// The same filter on batches.
    pub(crate) fn of_batches(self) -> Self {
        TaskFilter {
            begun: true,
            ..self
        }
    }

    /// Takes a parameter that says which page; `false`: it is not one.
    fn set_page(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        match name {
            "limit" => self.limit = parse_integer(name, value, "invalid_task_limit")?,
            "from" => self.from = Some(parse_integer(name, value, "invalid_task_from")?),
            "reverse" => self.reverse = parse_bool(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes a parameter that says which tasks; `false`: it is not one.
    fn select(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let integer = |code| move |path: &str, item: &str| parse_integer(path, item, code);
        match name {
            "uids" => self.uids = list(name, value, integer("invalid_task_uids"))?,
            "batchUids" => self.batch_uids = list(name, value, integer("invalid_batch_uids"))?,
            "canceledBy" => {
                self.canceled_by = list(name, value, integer("invalid_task_canceled_by"))?
            }
            "types" => {
                self.kinds = list(name, value, parse_kind)?
                    .map(|kinds| kinds.into_iter().flatten().collect())
            }
            "statuses" => {
                self.statuses = list(name, value, parse_status)?;
            }
            "indexUids" => {
                self.index_uids = list(name, value, |path, item| match check_uid(item) {
                    Ok(()) => Ok(item.to_owned()),
                    Err(error) => Err(invalid(path, &error.message, "invalid_index_uid")),
                })?;
            }
            "afterEnqueuedAt" => {
                self.after[0] = date(name, value, "invalid_task_after_enqueued_at", true)?
            }
            "beforeEnqueuedAt" => {
                self.before[0] = date(name, value, "invalid_task_before_enqueued_at", false)?
            }
            "afterStartedAt" => {
                self.after[1] = date(name, value, "invalid_task_after_started_at", true)?
            }
            "beforeStartedAt" => {
                self.before[1] = date(name, value, "invalid_task_before_started_at", false)?
            }
            "afterFinishedAt" => {
                self.after[2] = date(name, value, "invalid_task_after_finished_at", true)?
            }
            "beforeFinishedAt" => {
                self.before[2] = date(name, value, "invalid_task_before_finished_at", false)?
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn invalid(path: &str, why: &str, code: &'static str) -> Error {
    Error::invalid(
        400,
        code,
        format!("Invalid value in parameter `{path}`: {why}"),
    )
}

fn parse_integer(path: &str, value: &str, code: &'static str) -> Result<u32, Error> {
    value.parse().map_err(|_| {
        invalid(
            path,
            &format!("could not parse `{value}` as a positive integer"),
            code,
        )
    })
}

fn parse_bool(path: &str, value: &str) -> Result<bool, Error> {
    value.parse().map_err(|_| {
        let why =
            format!("could not parse `{value}` as a boolean, expected either `true` or `false`");
        invalid(path, &why, "invalid_task_reverse")
    })
}

/// A comma list; `*` anywhere lifts the restriction, an empty item says nothing. The path names the item only where there are several.
fn list<T>(
    name: &str,
    value: &str,
    mut item: impl FnMut(&str, &str) -> Result<T, Error>,
) -> Result<Option<Vec<T>>, Error> {
    if value.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let items: Vec<&str> = value.split(',').collect();
    let mut parsed = Vec::with_capacity(items.len());
    let mut star = false;
    for (position, text) in items.iter().enumerate() {
        if matches!(*text, "*" | "") {
            star |= *text == "*";
            continue;
        }
        let path = if items.len() > 1 {
            format!("{name}[{position}]")
        } else {
            name.to_owned()
        };
        parsed.push(item(&path, text)?);
    }
    Ok((!star).then_some(parsed))
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn parse_kind(path: &str, text: &str) -> Result<Option<Kind>, Error> {
    let same = |kind: &Kind| kind.as_str().eq_ignore_ascii_case(text);
    if let Some(kind) = Kind::ALL.into_iter().find(same) {
        return Ok(Some(kind));
    }
    if KIND_NAMES
        .iter()
        .any(|kind| kind.eq_ignore_ascii_case(text))
    {
        return Ok(None);
    }
    let known = quoted(KIND_NAMES.into_iter());
    let why = format!("`{text}` is not a valid task type. Available types are {known}.");
    Err(invalid(path, &why, "invalid_task_types"))
}

fn parse_status(path: &str, text: &str) -> Result<Status, Error> {
    Status::parse(&text.to_ascii_lowercase()).ok_or_else(|| {
        let why = format!(
            "`{text}` is not a valid task status. Available statuses are `enqueued`, `processing`, `succeeded`, \
             `failed`, `canceled`."
        );
        invalid(path, &why, "invalid_task_statuses")
    })
}

/// RFC 3339, or a day: *after* a day begins at the next one, *before* it ends at its midnight.
fn date(path: &str, value: &str, code: &'static str, after: bool) -> Result<Option<Nanos>, Error> {
    if value == "*" {
        return Ok(None);
    }
    if let Some(nanos) = parse_rfc3339(value) {
        return Ok(Some(nanos));
    }
    let day = Date::parse(value, format_description!("[year]-[month]-[day]")).map_err(|_| {
        let why = format!(
            "`{value}` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format."
        );
        invalid(path, &why, code)
    })?;
    let start: OffsetDateTime = day.with_time(Time::MIDNIGHT).assume_utc();
    let time = if after {
        start.checked_add(Duration::DAY).unwrap_or(start)
    } else {
        start
    };
    Ok(Some(nanos_of(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(query: &str) -> (String, String) {
        let error = TaskFilter::parse(query).unwrap_err();
        (error.code.into_owned(), error.message)
    }

    #[test]
    fn everything_parses() {
        let filter = TaskFilter::parse(
            "limit=3&from=7&reverse=true&uids=1,2&types=indexCreation,dumpCreation&statuses=failed,canceled&\
             indexUids=a,b&afterEnqueuedAt=2024-01-01&beforeFinishedAt=2024-01-01T00:00:01Z",
        )
        .unwrap();
        assert_eq!(
            (filter.limit, filter.from, filter.reverse),
            (3, Some(7), true)
        );
        assert_eq!(filter.uids, Some(vec![1, 2]));
        assert_eq!(
            filter.kinds,
            Some(vec![Kind::IndexCreation, Kind::DumpCreation])
        );
        assert_eq!(
            filter.statuses,
            Some(vec![Status::Failed, Status::Canceled])
        );
        assert_eq!(
            filter.index_uids,
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(filter.after[0], parse_rfc3339("2024-01-02T00:00:00Z"));
        assert_eq!(filter.before[2], parse_rfc3339("2024-01-01T00:00:01Z"));
    }

    #[test]
    fn a_star_lifts_a_restriction() {
        assert_eq!(
            TaskFilter::parse("uids=*&types=*&afterStartedAt=*").unwrap(),
            TaskFilter {
                limit: 20,
                ..Default::default()
            }
        );
    }

    #[test]
    fn lists_may_be_empty_and_have_capitals() {
        let filter =
            TaskFilter::parse("uids=&batchUids=1,2&types=IndexCreation&statuses=FAILED").unwrap();
        assert_eq!(filter.uids, Some(vec![]));
        assert_eq!(filter.batch_uids, Some(vec![1, 2]));
        assert_eq!(filter.kinds, Some(vec![Kind::IndexCreation]));
        assert_eq!(filter.statuses, Some(vec![Status::Failed]));
    }

    #[test]
    fn a_selection_needs_a_filter_and_has_no_pages() {
        let code = |query| match TaskFilter::parse_selection(query, "cancel") {
            Ok(_) => String::new(),
            Err(error) => error.code.into_owned(),
        };
        assert_eq!(code(""), "missing_task_filters");
        assert_eq!(code("limit=3&uids=1"), "bad_request");
        assert_eq!(code("uids=x"), "invalid_task_uids");
        assert_eq!(code("uids=x&limit=3"), "invalid_task_uids");
        assert_eq!(code("uids=*"), "");
        let error = TaskFilter::parse_selection("dogs=1", "cancel").unwrap_err();
        assert!(!error.message.contains("`limit`"), "{error}");
    }

    #[test]
    fn errors_are_meilisearchs() {
        assert_eq!(
            error("uids=1,dogo"),
            ("invalid_task_uids".into(), "Invalid value in parameter `uids[1]`: could not parse `dogo` as a positive integer".into())
        );
        assert_eq!(error("reverse=doggo").0, "invalid_task_reverse");
        assert_eq!(error("statuses=doggo").0, "invalid_task_statuses");
        assert_eq!(error("types=doggo").0, "invalid_task_types");
        assert_eq!(error("indexUids=the good doggo").0, "invalid_index_uid");
        assert_eq!(
            error("beforeEnqueuedAt=doggo").0,
            "invalid_task_before_enqueued_at"
        );
        assert_eq!(error("pied=doggo").0, "bad_request");
    }
}
