"""The official Python SDK against a cluster: what a first program does with it."""

import os

import meilisearch

client = meilisearch.Client(os.environ["MEILI_URL"], os.environ["MEILI_KEY"])


def done(task):
    finished = client.wait_for_task(task.task_uid, timeout_in_ms=60_000)
    assert finished.status == "succeeded", finished
    return finished


assert client.is_healthy()
assert client.get_version()["pkgVersion"]

done(client.create_index("sdk-python", {"primaryKey": "id"}))
index = client.index("sdk-python")
done(
    index.update_settings(
        {
            "filterableAttributes": ["genre", "year"],
            "sortableAttributes": ["year"],
            "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness"],
        }
    )
)
films = [
    {"id": i, "title": f"film number {i}", "genre": ["drama", "comedy", "war"][i % 3], "year": 1950 + i}
    for i in range(60)
]
task = done(index.add_documents(films))
assert task.details["receivedDocuments"] == 60, task
assert task.details["indexedDocuments"] == 60, task

found = index.search(
    "film", {"filter": "genre = drama AND year >= 1980", "sort": ["year:desc"], "facets": ["genre"], "limit": 5}
)
assert [hit["year"] for hit in found["hits"]] == [2007, 2004, 2001, 1998, 1995], found
assert found["estimatedTotalHits"] == 10, found
assert found["facetDistribution"] == {"genre": {"drama": 10}}, found

pages = index.search("", {"hitsPerPage": 7, "page": 9, "sort": ["year:asc"]})
assert (pages["totalPages"], pages["totalHits"], len(pages["hits"])) == (9, 60, 4), pages

several = client.multi_search([{"indexUid": "sdk-python", "q": "number", "limit": 1}, {"indexUid": "sdk-python", "q": "nothing"}])
assert [len(r["hits"]) for r in several["results"]] == [1, 0], several

done(index.update_documents([{"id": 7, "title": "renamed"}]))
assert index.get_document(7).title == "renamed"
assert index.get_document(7).year == 1957
done(index.delete_document(7))
done(index.delete_documents(filter="genre = war"))
assert index.get_stats().number_of_documents == 39, index.get_stats()
documents = index.get_documents({"limit": 100})
assert documents.total == 39 and len(documents.results) == 39
assert all("_miroir_shard" not in dict(document) for document in documents.results)

tasks = client.get_tasks({"indexUids": ["sdk-python"], "limit": 3})
assert len(tasks.results) == 3 and tasks.total >= 6, tasks
settings = index.get_settings()
assert sorted(settings["filterableAttributes"]) == ["genre", "year"], settings

try:
    index.search("x", {"filter": "title = x"})
    raise SystemExit("a filter on a field that is not filterable was accepted")
except meilisearch.errors.MeilisearchApiError as error:
    assert error.code == "invalid_search_filter", error

done(index.delete())
assert all(i.uid != "sdk-python" for i in client.get_indexes()["results"])
print("python sdk: ok")
