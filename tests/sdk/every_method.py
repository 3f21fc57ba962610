"""Every public method of the official Python SDK, once.

What passes over the wire is recorded and compared by tests/tests/sdk.rs: here nothing is asserted but that a method exists and is
called. A method that is neither called nor named in NOT_CALLED with its reason fails the run.
"""

import inspect
import json
import os
import sys

import meilisearch
from meilisearch.client import Client
from meilisearch.errors import MeilisearchApiError
from meilisearch.index import Index
from meilisearch.models.index import PrefixSearch, ProximityPrecision

NOT_CALLED = {
    "Client.create_chat_completion": "needs a language model's service",
    "Client.export": "writes to another server; see the export scenarios",
}

URL, KEY = os.environ["MEILI_URL"], os.environ["MEILI_KEY"]
KEY_UID = "6062abda-a5aa-4414-ac91-ecd7944c0f8d"
HOOK = {"url": "http://127.0.0.1:9/hook", "headers": {"authorization": "Bearer a-secret"}}
FILMS = [
    {"id": i, "title": f"film number {i}", "genre": ["drama", "comedy", "war"][i % 3], "year": 1950 + i}
    for i in range(60)
]

called = set()


def noting(cls):
    """Makes each public method of a class note that it was called."""
    methods = {}
    for name, function in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_"):
            methods[name] = function
            setattr(cls, name, wrapped(cls, name, function))
    return {f"{cls.__name__}.{name}" for name in methods}


def wrapped(cls, name, function):
    static = isinstance(inspect.getattr_static(cls, name), staticmethod)

    def note(*arguments, **options):
        called.add(f"{cls.__name__}.{name}")
        return function(*arguments, **options)

    return staticmethod(note) if static else note


def done(task):
    """Waits for a task, however it ends."""
    return client.wait_for_task(task.task_uid, timeout_in_ms=60_000, interval_in_ms=20)


def may_fail(call, *arguments, **options):
    """For what some versions refuse: both deployments have to refuse it alike."""
    try:
        answer = call(*arguments, **options)
    except MeilisearchApiError:
        return None
    except Exception:  # the SDK's own models do not fit every version's answer
        return None
    if isinstance(answer, dict) and "taskUid" in answer:
        return client.wait_for_task(answer["taskUid"], timeout_in_ms=60_000, interval_in_ms=20)
    return done(answer) if hasattr(answer, "task_uid") else answer


methods = noting(Client) | noting(Index)
client = Client(URL, KEY)

# the instance
client.health(), client.is_healthy(), client.version(), client.get_version()

# experimental features come first: some methods need them
client.get_experimental_features()
client.update_experimental_features({"editDocumentsByFunction": True, "containsFilter": True})

# indexes
done(client.create_index("py-films", {"primaryKey": "id"}))
done(Index.create(client.config, "py-other"))
done(client.create_index("py-films"))
films, other = client.index("py-films"), client.index("py-other")
client.get_indexes({"limit": 2}), client.get_raw_indexes()
client.get_index("py-films"), client.get_raw_index("py-films")
films.fetch_info(), films.get_primary_key()
may_fail(client.get_index, "py-missing")
done(other.update(primary_key="key"))

# every setting: read, changed, read, reset
settings = {
    "dictionary": ["J. R. R."],
    "displayed_attributes": ["id", "title", "genre", "year"],
    "distinct_attribute": "title",
    "facet_search_settings": False,
    "faceting_settings": {"maxValuesPerFacet": 50},
    "filterable_attributes": ["genre", "year"],
    "localized_attributes": [{"attributePatterns": ["title"], "locales": ["eng"]}],
    "non_separator_tokens": ["#"],
    "pagination_settings": {"maxTotalHits": 500},
    "prefix_search": PrefixSearch.DISABLED,
    "proximity_precision": ProximityPrecision.BY_ATTRIBUTE,
    "ranking_rules": ["words", "typo", "year:desc"],
    "search_cutoff_ms": 1500,
    "searchable_attributes": ["title", "genre"],
    "separator_tokens": ["|"],
    "sortable_attributes": ["year"],
    "stop_words": ["the", "of"],
    "synonyms": {"movie": ["film"]},
    "typo_tolerance": {"enabled": True, "disableOnNumbers": True, "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 8}},
    "embedders": {"own": {"source": "userProvided", "dimensions": 2}},
}
for name, value in settings.items():
    read = getattr(other, f"get_{name}")
    may_fail(read)
    done(getattr(other, f"update_{name}")(value))
    may_fail(read)
    if name != "facet_search_settings":
        may_fail(getattr(other, f"update_{name}"), None)
    done(getattr(other, f"reset_{name}")())
    may_fail(read)
may_fail(other.get_foreign_keys)
may_fail(other.update_foreign_keys, [{"foreignIndexUid": "py-films", "fieldName": "film"}])
may_fail(other.reset_foreign_keys)
done(films.update_settings({"filterableAttributes": ["genre", "year"], "sortableAttributes": ["year", "id"]}))
films.get_settings()
done(other.update_settings({"stopWords": ["a"]}))
done(other.reset_settings())

# documents in, by every way
done(films.add_documents(FILMS[:20]))
for task in films.add_documents_in_batches(FILMS[20:30], batch_size=4):
    done(task)
done(films.add_documents_json(json.dumps(FILMS[30:35]).encode()))
done(films.add_documents_ndjson("\n".join(json.dumps(film) for film in FILMS[35:40]).encode()))
done(films.add_documents_csv(b"id,title,genre,year:number\n40,film number 40,comedy,1990\n"))
done(films.add_documents_raw("\n".join(json.dumps(film) for film in FILMS[41:]).encode(), content_type="application/x-ndjson"))
done(films.update_documents([{"id": 1, "seen": True}]))
for task in films.update_documents_in_batches([{"id": 2, "seen": True}, {"id": 3, "seen": True}], batch_size=1):
    done(task)
done(films.update_documents_json(json.dumps([{"id": 4, "seen": True}]).encode()))
done(films.update_documents_ndjson(json.dumps({"id": 5, "seen": True}).encode()))
done(films.update_documents_csv(b"id;seen:boolean\n6;true\n", csv_delimiter=";"))
done(films.update_documents_raw(json.dumps({"id": 7, "seen": True}).encode(), content_type="application/x-ndjson"))
done(films.add_documents([{"id": "no id!", "title": "refused"}]))
may_fail(films.add_documents, [{"id": 1000}], skip_creation=True)
may_fail(client.update_documents_by_function, "py-films", {"function": "doc.seen = false", "filter": "year = 1999"})

# and out
films.get_document(1), films.get_document(2, {"fields": ["title"]})
may_fail(films.get_document, 7777)
films.get_documents({"limit": 100, "filter": "genre = war", "fields": ["id", "genre"]})
films.get_stats(), client.get_all_stats()
may_fail(films.get_fields, limit=3)

# searches; sorted, so that nothing ties
films.search("film", {"filter": "genre = drama AND year >= 1980", "sort": ["year:desc"], "facets": ["genre"], "limit": 5})
films.search("flim", {"sort": ["id:asc"], "hitsPerPage": 7, "page": 2, "attributesToHighlight": ["title"]})
may_fail(films.search, "x", {"filter": "title = x"})
films.facet_search("genre", "dra")
vectors = client.index("py-vectors")
done(vectors.update_embedders({"own": {"source": "userProvided", "dimensions": 2}}))
done(vectors.add_documents([{"id": i, "_vectors": {"own": [i / 8, 1.0]}} for i in range(8)]))
vectors.search("", {"hybrid": {"embedder": "own", "semanticRatio": 1.0}, "vector": [0.1, 1.0], "limit": 3})
may_fail(vectors.get_similar_documents, {"id": 3, "embedder": "own", "limit": 3})
done(vectors.delete())
client.multi_search([{"indexUid": "py-films", "q": "number", "sort": ["id:asc"], "limit": 2}, {"indexUid": "py-other", "q": ""}])
client.multi_search([{"indexUid": "py-films", "q": "number", "sort": ["id:asc"]}], {"limit": 3})

# keys and tokens
client.get_keys({"limit": 3})
key = client.create_key({"uid": KEY_UID, "name": "py", "actions": ["search"], "indexes": ["py-*"], "expiresAt": None})
client.get_key(KEY_UID), client.update_key(KEY_UID, {"description": "from python"})
token = client.generate_tenant_token(KEY_UID, {"py-films": {"filter": "genre = war"}}, api_key=key.key)
Client(URL, token).index("py-films").search("", {"sort": ["id:asc"], "limit": 2})
may_fail(Client(URL, token).get_indexes)
client.delete_key(KEY_UID)
may_fail(client.get_key, KEY_UID)

# tasks and batches
tasks = client.get_tasks({"indexUids": ["py-other"], "limit": 2})
client.get_task(tasks.results[0].uid), films.get_task(tasks.results[0].uid)
films.get_tasks({"limit": 1}), films.wait_for_task(tasks.results[0].uid)
batches = client.get_batches({"indexUids": ["py-other"], "limit": 1})
client.get_batch(batches.results[0].uid)
done(client.cancel_tasks({"indexUids": ["py-other"]}))

# webhooks
may_fail(client.get_webhooks)
hook = may_fail(client.create_webhook, HOOK)
hook_uuid = hook.uuid if hook else KEY_UID
may_fail(client.get_webhook, hook_uuid)
may_fail(client.update_webhook, hook_uuid, {"headers": {"x-more": "1"}})
may_fail(client.delete_webhook, hook_uuid)

# what a cluster does in its own way, or refuses
may_fail(client.get_all_networks), may_fail(client.add_or_update_networks, {"remotes": {}})
may_fail(client.get_chat_workspaces), may_fail(client.get_chat_workspace_settings, "w")
may_fail(client.update_chat_workspace_settings, "w", {"source": "openAi"})
may_fail(client.get_dynamic_search_rules), may_fail(client.get_dynamic_search_rule, "r")
may_fail(client.update_dynamic_search_rule, "r", {"active": False}), may_fail(client.delete_dynamic_search_rule, "r")
may_fail(client.render_template, {"kind": "inlineDocumentTemplate", "inline": "{{doc.id}}"})
may_fail(films.compact)

# everything goes again
done(client.swap_indexes([{"indexes": ["py-films", "py-other"]}]))
done(client.swap_indexes([{"indexes": ["py-films", "py-other"]}]))
done(films.delete_document(0)), done(films.delete_documents([1, 2])), done(films.delete_documents(filter="genre = war"))
films.get_stats()
done(films.delete_all_documents())
done(other.delete()), done(client.delete_index("py-films")), done(client.delete_index("py-missing"))
done(client.delete_tasks({"indexUids": ["py-other", "py-films", "py-missing"]}))

# last, because one of the two may make tasks that the other does not
for make in (client.create_dump, client.create_snapshot):
    try:
        make()
    except MeilisearchApiError:
        pass

missing = sorted(methods - called - NOT_CALLED.keys())
unknown = sorted(NOT_CALLED.keys() - methods) + sorted(NOT_CALLED.keys() & called)
if missing or unknown:
    sys.exit(f"not called and not excused: {missing}; excused wrongly: {unknown}")
print(f"python sdk {meilisearch.version.__version__}: {len(methods & called)} methods called, {len(NOT_CALLED)} not")
