//! The routes of Meilisearch's experimental features, and what it answers where a feature is off
//! (`crates/index-scheduler/src/features.rs` at 1.50).

use crate::Error;

/// A feature as its refusal names it.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The name in refusals.
    pub name: &'static str,
    discussion: &'static str,
}

impl Feature {
    /// 400 `feature_not_enabled`; `action` is what was asked for, in Meilisearch's words.
    pub fn refusal(&self, action: &str) -> Error {
        let Feature { name, discussion } = self;
        let message = format!(
            "{action} requires enabling the `{name}` experimental feature. See {discussion}"
        );
        Error::invalid(400, "feature_not_enabled", message)
    }
}

pub const METRICS: Feature = Feature {
    name: "metrics",
    discussion: "https://github.com/meilisearch/product/discussions/625",
};
pub const LOGS: Feature = Feature {
    name: "logs route",
    discussion: "https://github.com/orgs/meilisearch/discussions/721",
};
pub const NETWORK: Feature = Feature {
    name: "network",
    discussion: "https://github.com/orgs/meilisearch/discussions/805",
};
pub const EDIT_DOCUMENTS: Feature = Feature {
    name: "edit documents by function",
    discussion: "https://github.com/orgs/meilisearch/discussions/762",
};
pub const TASK_DOCUMENTS: Feature = Feature {
    name: "get task documents route",
    discussion: "https://github.com/orgs/meilisearch/discussions/808",
};
pub const COMPACTION: Feature = Feature {
    name: "task queue compaction route",
    discussion: "https://github.com/orgs/meilisearch/discussions/883",
};
pub const CHATS: Feature = Feature {
    name: "chat completions",
    discussion: "https://github.com/orgs/meilisearch/discussions/835",
};
pub const RULES: Feature = Feature {
    name: "dynamic search rules",
    discussion: "https://github.com/orgs/meilisearch/discussions/884",
};
pub const RENDER: Feature = Feature {
    name: "render_route",
    discussion: "https://github.com/orgs/meilisearch/discussions/888",
};
pub const FOREIGN_KEYS: Feature = Feature {
    name: "foreign_keys",
    discussion: "https://github.com/orgs/meilisearch/discussions/873",
};

const USING_LOGS: &str = "Modifying logs through the `/logs/*` routes";
const USING_RULES: &str = "Using the `/dynamic-search-rules` routes";

/// Path, what is refused in Meilisearch's words, and the feature that it takes.
pub const ROUTES: [(&str, &str, Feature); 16] = [
    ("/metrics", "Getting metrics", METRICS),
    ("/logs/stream", USING_LOGS, LOGS),
    ("/logs/stderr", USING_LOGS, LOGS),
    ("/network", "Using the /network route", NETWORK),
    (
        "/network/control",
        "Using the /network/control route",
        NETWORK,
    ),
    (
        "/tasks/{uid}/documents",
        "Getting the documents of an enqueued task",
        TASK_DOCUMENTS,
    ),
    (
        "/tasks/compact",
        "Using the /tasks/compact route",
        COMPACTION,
    ),
    ("/chats", "listing the chats", CHATS),
    ("/chats/{workspace}", "displaying a chat", CHATS),
    (
        "/chats/{workspace}/settings",
        "using the /chats/settings route",
        CHATS,
    ),
    (
        "/chats/{workspace}/chat/completions",
        "using the /chats chat completions route",
        CHATS,
    ),
    ("/dynamic-search-rules", USING_RULES, RULES),
    ("/dynamic-search-rules/{uid}", USING_RULES, RULES),
    (
        "/render-template",
        "calling the /render-template route",
        RENDER,
    ),
    (
        "/indexes/{uid}/settings/chat",
        "setting `chat` in the index settings",
        CHATS,
    ),
    (
        "/indexes/{uid}/settings/foreign-keys",
        "setting `foreignKeys` in the index settings",
        FOREIGN_KEYS,
    ),
];
