//! Tasks: list, look at, cancel, delete.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::Extension;
use deserr::Deserr;
use miroir_api::Error;
use miroir_auth::Access;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};

use super::query::{IndexUid, List, Star, DEFAULT_LIMIT};
use super::{blocking, enqueue, json, Answer, App, Shared, Who};
use crate::deserialize::{codes::*, read_query, FromParam, Param, QueryRejection, Reason};
use crate::error::coded;
use crate::queue::{Filter, Span};
use crate::tasks::{Kind, Status, Task, TaskView, Work};

impl FromParam for Status {
    fn from_param(text: &str) -> Result<Self, Reason> {
        let found = Status::ALL
            .iter()
            .copied()
            .find(|status| status.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = quoted(Status::ALL.iter().map(|status| status.name()));
            Reason(format!(
                "`{text}` is not a valid task status. Available statuses are {names}."
            ))
        })
    }
}

impl FromParam for Kind {
    fn from_param(text: &str) -> Result<Self, Reason> {
        let found = Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = quoted(Kind::ALL.iter().map(|kind| kind.name()));
            Reason(format!(
                "`{text}` is not a valid task type. Available types are {names}."
            ))
        })
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A date after which something lies: a day without a time means its end.
#[derive(Clone, Copy, Debug)]
struct After(OffsetDateTime);

/// A date before which something lies: a day without a time means its beginning.
#[derive(Clone, Copy, Debug)]
struct Before(OffsetDateTime);

impl FromParam for After {
    fn from_param(text: &str) -> Result<Self, Reason> {
        date(text, Duration::DAY).map(After)
    }
}

impl FromParam for Before {
    fn from_param(text: &str) -> Result<Self, Reason> {
        date(text, Duration::ZERO).map(Before)
    }
}

fn date(text: &str, past_midnight: Duration) -> Result<OffsetDateTime, Reason> {
    if let Ok(date) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(date);
    }
    let day = Date::parse(
        text,
        format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day]"),
    );
    let day = day.map_err(|_| {
        let wording = "It should follow the YYYY-MM-DD or RFC 3339 date-time format.";
        Reason(format!("`{text}` is an invalid date-time. {wording}"))
    })?;
    let midnight = day.with_time(Time::MIDNIGHT).assume_utc();
    Ok(midnight.checked_add(past_midnight).unwrap_or(midnight))
}

// The two queries have the same filters; the order of the fields, which differs, is the order in error messages.
macro_rules! queries {
    ($($(#[$attribute:meta])* $field:ident: $type:ty,)*) => {
        #[derive(Deserr)]
        #[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
        pub struct ListQuery {
            #[deserr(default = Param(DEFAULT_LIMIT as u32), error = QueryRejection<InvalidTaskLimit>)]
            limit: Param<u32>,
            #[deserr(default, error = QueryRejection<InvalidTaskFrom>)]
            from: Option<Param<u32>>,
            #[deserr(default, error = QueryRejection<InvalidTaskReverse>)]
            reverse: Option<Param<bool>>,
            #[deserr(default, error = QueryRejection<InvalidBatchUids>)]
            batch_uids: List<u32>,
            #[deserr(default, error = QueryRejection<InvalidTaskUids>)]
            uids: List<u32>,
            $($(#[$attribute])* $field: $type,)*
        }

        #[derive(Deserr)]
        #[deserr(error = QueryRejection, rename_all = camelCase, deny_unknown_fields)]
        pub struct ChoiceQuery {
            #[deserr(default, error = QueryRejection<InvalidTaskUids>)]
            uids: List<u32>,
            #[deserr(default, error = QueryRejection<InvalidBatchUids>)]
            batch_uids: List<u32>,
            $($(#[$attribute])* $field: $type,)*
        }

        impl ListQuery {
            pub fn split(self) -> (Param<u32>, Option<Param<u32>>, Option<Param<bool>>, ChoiceQuery) {
                let (uids, batch_uids) = (self.uids, self.batch_uids);
                (self.limit, self.from, self.reverse, ChoiceQuery { uids, batch_uids, $($field: self.$field),* })
            }
        }

        impl ChoiceQuery {
            fn is_empty(&self) -> bool {
                self.uids.is_absent() && self.batch_uids.is_absent() $(&& self.$field.is_absent())*
            }
        }
    };
}

queries! {
    #[deserr(default, error = QueryRejection<InvalidTaskCanceledBy>)]
    canceled_by: List<u32>,
    #[deserr(default, error = QueryRejection<InvalidTaskTypes>)]
    types: List<Kind>,
    #[deserr(default, error = QueryRejection<InvalidTaskStatuses>)]
    statuses: List<Status>,
    #[deserr(default, error = QueryRejection<InvalidIndexUid>)]
    index_uids: List<IndexUid>,
    #[deserr(default, error = QueryRejection<InvalidTaskAfterEnqueuedAt>)]
    after_enqueued_at: Star<After>,
    #[deserr(default, error = QueryRejection<InvalidTaskBeforeEnqueuedAt>)]
    before_enqueued_at: Star<Before>,
    #[deserr(default, error = QueryRejection<InvalidTaskAfterStartedAt>)]
    after_started_at: Star<After>,
    #[deserr(default, error = QueryRejection<InvalidTaskBeforeStartedAt>)]
    before_started_at: Star<Before>,
    #[deserr(default, error = QueryRejection<InvalidTaskAfterFinishedAt>)]
    after_finished_at: Star<After>,
    #[deserr(default, error = QueryRejection<InvalidTaskBeforeFinishedAt>)]
    before_finished_at: Star<Before>,
}

impl ChoiceQuery {
    /// The filter, on what the one who asks may see.
    pub fn into_filter(self, access: &Access) -> Filter {
        let span = |after: Star<After>, before: Star<Before>| Span {
            after: after.restriction().map(|date| date.0),
            before: before.restriction().map(|date| date.0),
        };
        let index_uids = self.index_uids.restriction();
        Filter {
            batch_uids: self.batch_uids.restriction(),
            uids: self.uids.restriction(),
            canceled_by: self.canceled_by.restriction(),
            kinds: self.types.restriction(),
            statuses: self.statuses.restriction(),
            index_uids: index_uids.map(|uids| uids.into_iter().map(|uid| uid.0).collect()),
            enqueued: span(self.after_enqueued_at, self.before_enqueued_at),
            started: span(self.after_started_at, self.before_started_at),
            finished: span(self.after_finished_at, self.before_finished_at),
            seen: access.indexes(),
            ..Filter::default()
        }
    }
}

#[derive(Serialize)]
struct TaskList {
    results: Vec<TaskView>,
    total: u64,
    limit: u32,
    from: Option<u32>,
    next: Option<u32>,
}

pub async fn list(State(app): Shared, Extension(access): Who, RawQuery(query): RawQuery) -> Answer {
    let query: ListQuery = read_query(&query.unwrap_or_default())?;
    let (Param(limit), from, reverse, choice) = query.split();
    let list = blocking(&app, move |app| {
        let filter = Filter {
            // One more, to see whether there is a next page.
            limit: Some(limit.saturating_add(1)),
            from: from.map(|Param(uid)| uid),
            reverse: reverse.is_some_and(|Param(reverse)| reverse),
            ..choice.into_filter(&access)
        };
        let mut page = app.scheduler.queue.list(&filter)?;
        let next = if page.tasks.len() > limit as usize {
            page.tasks.pop().map(|task| task.uid)
        } else {
            None
        };
        let from = page.tasks.first().map(|task| task.uid);
        let results = page.tasks.into_iter().map(TaskView::from).collect();
        Ok(TaskList {
            results,
            total: page.total,
            limit,
            from,
            next,
        })
    });
    json(StatusCode::OK, &list.await?)
}

pub async fn one(State(app): Shared, Extension(access): Who, Path(text): Path<String>) -> Answer {
    let Ok(uid) = text.parse::<u32>() else {
        let message =
            format!("Task uid `{text}` is invalid. It should only contain numeric characters.");
        return Err(coded("invalid_task_uids", message).into());
    };
    let task = blocking(&app, move |app| {
        let task = app.scheduler.queue.get(uid)?;
        task.filter(|task| seen(&access, task))
            .ok_or_else(|| Error::task_not_found(uid))
    });
    json(StatusCode::OK, &TaskView::from(task.await?))
}

pub async fn cancel(
    State(app): Shared,
    Extension(access): Who,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.unwrap_or_default();
    let tasks = blocking(&app, chosen(&query, "cancel", &access)?).await?;
    enqueue(
        &app,
        StatusCode::OK,
        None,
        Work::CancelTasks {
            query: format!("?{query}"),
            tasks,
        },
    )
    .await
}

pub async fn delete(
    State(app): Shared,
    Extension(access): Who,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = query.unwrap_or_default();
    let tasks = blocking(&app, chosen(&query, "delete", &access)?).await?;
    enqueue(
        &app,
        StatusCode::OK,
        None,
        Work::DeleteTasks {
            query: format!("?{query}"),
            tasks,
        },
    )
    .await
}

/// Finds the tasks that a query names; one that names none at all is refused.
fn chosen(
    query: &str,
    what: &str,
    access: &Access,
) -> Result<impl FnOnce(&App) -> Result<Vec<u32>, Error>, Error> {
    let query: ChoiceQuery = read_query(query)?;
    if query.is_empty() {
        let message = format!(
            "Query parameters to filter the tasks to {what} are missing. Available query parameters are: `uids`, \
             `indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, \
             `beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`."
        );
        return Err(coded("missing_task_filters", message));
    }
    let filter = query.into_filter(access);
    Ok(move |app: &App| app.scheduler.queue.uids(&filter))
}

/// Whether the one who asks may see the task: it is one of their indexes, or they see everything.
fn seen(access: &Access, task: &Task) -> bool {
    let index = task.index_uid.as_deref();
    access.sees_all() || index.is_some_and(|index| access.sees(index))
}
