//! Every method of the official Rust SDK that speaks to a server, once.
//!
//! What passes over the wire is recorded and compared by tests/tests/sdk.rs, which also looks into the SDK's sources for methods that
//! this file does not call.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::io::Cursor;
use meilisearch_sdk::batches::BatchesQuery;
use meilisearch_sdk::chats::{ChatWorkspaceSettings, ChatWorkspacesQuery};
use meilisearch_sdk::client::{Client, SwapIndexes};
use meilisearch_sdk::documents::{DocumentDeletionQuery, DocumentQuery, DocumentsQuery};
use meilisearch_sdk::errors::Error;
use meilisearch_sdk::features::ExperimentalFeatures;
use meilisearch_sdk::indexes::IndexesQuery;
use meilisearch_sdk::key::{Action, KeyBuilder, KeyUpdater, KeysQuery};
use meilisearch_sdk::network::NetworkUpdate;
use meilisearch_sdk::search::FederationOptions;
use meilisearch_sdk::settings::{
    Embedder, FacetingSettings, FilterableAttribute, LocalizedAttributes, PaginationSetting,
    PrefixSearchSettings, Settings, TypoToleranceSettings,
};
use meilisearch_sdk::task_info::TaskInfo;
use meilisearch_sdk::tasks::{Task, TasksCancelQuery, TasksDeleteQuery, TasksSearchQuery};
use meilisearch_sdk::webhooks::{WebhookCreate, WebhookUpdate};
use serde_json::{json, Value};

const KEY_UID: &str = "6062abda-a5aa-4414-ac91-ecd7944c0f90";
const NOBODY: &str = "7062abda-a5aa-4414-ac91-ecd7944c0f90";

/// Waits for a task, however it ends.
async fn done(client: &Client, task: Result<TaskInfo, Error>) -> Result<Task, Error> {
    let (interval, timeout) = (Duration::from_millis(20), Duration::from_secs(60));
    client
        .wait_for_task(task?, Some(interval), Some(timeout))
        .await
}

/// For what some versions refuse: both deployments have to refuse it alike.
async fn may_fail(client: &Client, task: Result<TaskInfo, Error>) {
    if task.is_ok() {
        let _ = done(client, task).await;
    }
}

/// Reads a setting, changes it, reads it again, resets it.
macro_rules! setting {
    ($client:ident, $index:ident, $get:ident, $set:ident($value:expr), $reset:ident) => {
        let _ = $index.$get().await;
        done(&$client, $index.$set($value).await).await?;
        let _ = $index.$get().await;
        done(&$client, $index.$reset().await).await?;
    };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, key) = (std::env::var("MEILI_URL")?, std::env::var("MEILI_KEY")?);
    let client = Client::new(&url, Some(&key))?;
    let (seconds, pause) = (
        Some(Duration::from_secs(60)),
        Some(Duration::from_millis(20)),
    );

    // the instance
    client.health().await?;
    client.is_healthy().await;
    client.get_version().await?;
    let mut features = ExperimentalFeatures::new(&client);
    let _ = features.get().await;
    let _ = features.set_contains_filter(true).update().await;

    // indexes
    done(&client, client.create_index("rs-films", Some("id")).await).await?;
    done(&client, client.create_index("rs-other", None).await).await?;
    let mut index = client.get_index("rs-films").await?;
    let mut other = client.index("rs-other");
    let few = {
        let mut query = IndexesQuery::new(&client);
        query.with_limit(2);
        query
    };
    client.list_all_indexes().await?;
    client.list_all_indexes_with(&few).await?;
    client.list_all_indexes_raw().await?;
    client.list_all_indexes_raw_with(&few).await?;
    client.get_indexes().await?;
    client.get_indexes_with(&few).await?;
    client.get_indexes_raw().await?;
    client.get_indexes_raw_with(&few).await?;
    client.get_raw_index("rs-films").await?;
    index.fetch_info().await?;
    index.get_primary_key().await?;
    done(&client, other.set_primary_key("key").await).await?;
    done(&client, other.update().await).await?;

    // every setting
    let words = vec!["#".to_owned()];
    setting!(
        client,
        other,
        get_dictionary,
        set_dictionary(["J. R. R."]),
        reset_dictionary
    );
    setting!(
        client,
        other,
        get_displayed_attributes,
        set_displayed_attributes(["id"]),
        reset_displayed_attributes
    );
    setting!(
        client,
        other,
        get_distinct_attribute,
        set_distinct_attribute("id"),
        reset_distinct_attribute
    );
    setting!(
        client,
        other,
        get_facet_search,
        set_facet_search(false),
        reset_facet_search
    );
    let faceting = FacetingSettings {
        max_values_per_facet: 50,
        sort_facet_values_by: None,
    };
    setting!(
        client,
        other,
        get_faceting,
        set_faceting(&faceting),
        reset_faceting
    );
    setting!(
        client,
        other,
        get_filterable_attributes,
        set_filterable_attributes(["genre"]),
        reset_filterable_attributes
    );
    let _ = other.get_filterable_attributes_advanced().await;
    let genre = FilterableAttribute::Attribute("genre".to_owned());
    done(
        &client,
        other.set_filterable_attributes_advanced([genre]).await,
    )
    .await?;
    let locales = vec![LocalizedAttributes {
        locales: vec!["eng".into()],
        attribute_patterns: vec!["title".into()],
    }];
    setting!(
        client,
        other,
        get_localized_attributes,
        set_localized_attributes(&locales),
        reset_localized_attributes
    );
    setting!(
        client,
        other,
        get_non_separator_tokens,
        set_non_separator_tokens(&words),
        reset_non_separator_tokens
    );
    setting!(
        client,
        other,
        get_pagination,
        set_pagination(PaginationSetting {
            max_total_hits: 500
        }),
        reset_pagination
    );
    setting!(
        client,
        other,
        get_prefix_search,
        set_prefix_search(PrefixSearchSettings::Disabled),
        reset_prefix_search
    );
    setting!(
        client,
        other,
        get_proximity_precision,
        set_proximity_precision("byAttribute".to_owned()),
        reset_proximity_precision
    );
    setting!(
        client,
        other,
        get_ranking_rules,
        set_ranking_rules(["words", "typo"]),
        reset_ranking_rules
    );
    setting!(
        client,
        other,
        get_search_cutoff_ms,
        set_search_cutoff_ms(Some(1500)),
        reset_search_cutoff_ms
    );
    setting!(
        client,
        other,
        get_searchable_attributes,
        set_searchable_attributes(["title"]),
        reset_searchable_attributes
    );
    setting!(
        client,
        other,
        get_separator_tokens,
        set_separator_tokens(&words),
        reset_separator_tokens
    );
    setting!(
        client,
        other,
        get_sortable_attributes,
        set_sortable_attributes(["year"]),
        reset_sortable_attributes
    );
    setting!(
        client,
        other,
        get_stop_words,
        set_stop_words(["the", "of"]),
        reset_stop_words
    );
    let synonyms = HashMap::from([("movie".to_owned(), vec!["film".to_owned()])]);
    setting!(
        client,
        other,
        get_synonyms,
        set_synonyms(&synonyms),
        reset_synonyms
    );
    let typos: TypoToleranceSettings =
        serde_json::from_value(json!({ "enabled": true, "disableOnWords": ["film"] }))?;
    setting!(
        client,
        other,
        get_typo_tolerance,
        set_typo_tolerance(&typos),
        reset_typo_tolerance
    );
    let own: Embedder =
        serde_json::from_value(json!({ "source": "userProvided", "dimensions": 2 }))?;
    let embedders = HashMap::from([("own".to_owned(), own)]);
    setting!(
        client,
        other,
        get_embedders,
        set_embedders(&embedders),
        reset_embedders
    );
    let settings = Settings::new()
        .with_filterable_attributes(["genre", "year"])
        .with_sortable_attributes(["id", "year"]);
    done(&client, index.set_settings(&settings).await).await?;
    let _ = index.get_settings().await;
    done(&client, other.reset_settings().await).await?;

    // documents in, by every way
    let genres = ["drama", "comedy", "war"];
    let films: Vec<Value> = (0..60)
        .map(|i| json!({ "id": i, "title": format!("film number {i}"), "genre": genres[i % 3], "year": 1950 + i }))
        .collect();
    done(&client, index.add_documents(&films[..10], None).await).await?;
    done(&client, index.add_or_replace(&films[10..20], None).await).await?;
    for task in index
        .add_documents_in_batches(&films[20..30], Some(4), None)
        .await?
    {
        done(&client, Ok(task)).await?;
    }
    let lines = |films: &[Value]| {
        let lines: Vec<String> = films.iter().map(Value::to_string).collect();
        Cursor::new(lines.join("\n").into_bytes())
    };
    done(
        &client,
        index
            .add_documents_ndjson(lines(&films[30..40]), None)
            .await,
    )
    .await?;
    let row = Cursor::new(b"id,title,genre,year:number\n40,film number 40,comedy,1990\n".to_vec());
    done(&client, index.add_documents_csv(row, None).await).await?;
    let json_lines = "application/x-ndjson";
    done(
        &client,
        index
            .add_or_replace_unchecked_payload(lines(&films[41..]), json_lines, None)
            .await,
    )
    .await?;
    done(
        &client,
        index
            .add_or_update(&[json!({ "id": 1, "seen": true })], None)
            .await,
    )
    .await?;
    for task in index
        .update_documents_in_batches(&[json!({ "id": 2, "seen": true })], Some(1), None)
        .await?
    {
        done(&client, Ok(task)).await?;
    }
    done(
        &client,
        index
            .update_documents_ndjson(lines(&[json!({ "id": 3, "seen": true })]), None)
            .await,
    )
    .await?;
    let row = Cursor::new(b"id,seen:boolean\n4,true\n".to_vec());
    done(&client, index.update_documents_csv(row, None).await).await?;
    let seen = lines(&[json!({ "id": 5, "seen": true })]);
    done(
        &client,
        index
            .add_or_update_unchecked_payload(seen, json_lines, None)
            .await,
    )
    .await?;
    let task = index
        .add_documents(&[json!({ "id": "no id!" })], None)
        .await?;
    task.wait_for_completion(&client, pause, seconds).await?;

    // and out
    index.get_document::<Value>("1").await?;
    index
        .get_document_with::<Value>("2", DocumentQuery::new(&index).with_fields(["title"]))
        .await?;
    let _ = index.get_document::<Value>("7777").await;
    let mut wars = DocumentsQuery::new(&index);
    wars.with_limit(100)
        .with_filter("genre = war")
        .with_fields(["id", "genre"]);
    index.get_documents_with::<Value>(&wars).await?;
    index.get_stats().await?;
    client.get_stats().await?;

    // searches; sorted, so that nothing ties
    let (by_id, by_year) = (["id:asc"], ["year:desc"]);
    let mut search = index.search();
    search
        .with_query("film")
        .with_filter("genre = drama AND year >= 1980")
        .with_sort(&by_year)
        .with_limit(5);
    index.execute_query::<Value>(&search).await?;
    search.execute::<Value>().await?;
    let mut facets = index.facet_search("genre");
    facets.with_facet_query("dra");
    index.execute_facet_query(&facets).await?;
    let mut first = index.search();
    first.with_query("number").with_sort(&by_id).with_limit(2);
    let mut several = client.multi_search();
    several.with_search_query(first);
    client.execute_multi_search_query::<Value>(&several).await?;
    let mut first = index.search();
    first.with_query("number").with_sort(&by_id);
    let mut several = client.multi_search();
    several.with_search_query(first);
    let federated = several.with_federation(FederationOptions {
        limit: Some(3),
        ..FederationOptions::default()
    });
    client
        .execute_federated_multi_search_query::<Value>(&federated)
        .await?;
    let vectors = client.index("rs-vectors");
    done(&client, vectors.set_embedders(&embedders).await).await?;
    let points: Vec<Value> = (0..8)
        .map(|i| json!({ "id": i, "_vectors": { "own": [f64::from(i) / 8.0, 1.0] } }))
        .collect();
    done(&client, vectors.add_documents(&points, None).await).await?;
    vectors.get_documents::<Value>().await?;
    let _ = vectors
        .execute_similar_query::<Value>(vectors.similar_search("3", "own").with_limit(3))
        .await;
    done(&client, vectors.delete().await).await?;

    // keys and tokens
    client.get_keys().await?;
    client.get_keys_with(KeysQuery::new().with_limit(2)).await?;
    let mut wanted = KeyBuilder::new();
    wanted
        .with_uid(KEY_UID)
        .with_name("rs")
        .with_action(Action::Search)
        .with_index("rs-*");
    let made = client.create_key(&wanted).await?;
    client.get_key(&made).await?;
    client
        .update_key(KeyUpdater::new(&made).with_description("from rust"))
        .await?;
    let rules = json!({ "rs-films": { "filter": "genre = war" } });
    let token = client.generate_tenant_token(KEY_UID.to_owned(), rules, Some(&made.key), None)?;
    let tenant = Client::new(&url, Some(token))?.index("rs-films");
    tenant
        .search()
        .with_sort(&by_id)
        .with_limit(2)
        .execute::<Value>()
        .await?;
    client.delete_key(&made).await?;
    let _ = client.get_key(&made).await;

    // tasks and batches
    let mut latest = TasksSearchQuery::new(&client);
    latest.with_index_uids(["rs-other"]).with_limit(2);
    client.get_tasks_with(&latest).await?;
    index.get_tasks_with(&latest).await?;
    index.get_tasks().await?;
    let _ = client.get_batches().await;
    let task = done(&client, index.add_documents(&films[..1], None).await).await?;
    client.get_task(&task).await?;
    index.get_task(&task).await?;
    let task = index.add_documents(&films[..1], None).await?;
    index.wait_for_task(task, pause, seconds).await?;
    let _ = client
        .get_batches_with(BatchesQuery::new(&client).with_limit(1))
        .await;
    let _ = client.get_batch(1_000_000).await;
    done(
        &client,
        client
            .cancel_tasks_with(TasksCancelQuery::new(&client).with_index_uids(["rs-other"]))
            .await,
    )
    .await?;

    // webhooks
    let _ = client.get_webhooks().await;
    let made = client
        .create_webhook(
            &WebhookCreate::new("http://127.0.0.1:9/hook")
                .with_header("authorization", "Bearer a-secret"),
        )
        .await;
    let hook = made.map_or(NOBODY.to_owned(), |hook| hook.uuid.to_string());
    let _ = client.get_webhook(&hook).await;
    let _ = client
        .update_webhook(&hook, WebhookUpdate::new().set_header("x-more", "1"))
        .await;
    let _ = client.delete_webhook(&hook).await;

    // what a cluster does in its own way, or refuses
    may_fail(&client, index.compact().await).await;
    let _ = client.get_network_state().await;
    let _ = client
        .update_network_state(&NetworkUpdate {
            remotes: None,
            self_name: None,
            leader: None,
            version: None,
        })
        .await;
    let _ = client.set_self_remote("a").await;
    let _ = client.set_network_leader("a").await;
    let _ = client.list_chat_workspaces().await;
    let _ = client
        .list_chat_workspaces_with(ChatWorkspacesQuery::new(&client).with_limit(1))
        .await;
    let _ = client.get_chat_workspace("w").await;
    let _ = client.get_chat_workspace_settings("w").await;
    let _ = client
        .update_chat_workspace_settings("w", ChatWorkspaceSettings::new().set_source("openAi"))
        .await;
    let _ = client.reset_chat_workspace_settings("w").await;

    // everything goes again
    let names = SwapIndexes {
        indexes: ("rs-films".into(), "rs-other".into()),
        rename: None,
    };
    done(&client, client.swap_indexes([&names]).await).await?;
    done(&client, client.swap_indexes([&names]).await).await?;
    done(&client, index.delete_document(0).await).await?;
    done(&client, index.delete_documents(&[1, 2]).await).await?;
    done(
        &client,
        index
            .delete_documents_with(DocumentDeletionQuery::new(&index).with_filter("genre = war"))
            .await,
    )
    .await?;
    done(&client, index.delete_all_documents().await).await?;
    done(&client, other.delete().await).await?;
    done(&client, client.delete_index("rs-films").await).await?;
    done(
        &client,
        client
            .delete_tasks_with(
                TasksDeleteQuery::new(&client).with_index_uids(["rs-films", "rs-other"]),
            )
            .await,
    )
    .await?;
    // Last, because one of the two may make tasks that the other does not.
    let _ = client.create_dump().await;
    let _ = client.create_snapshot().await;
    println!("rust sdk: to the end");
    Ok(())
}
