// The official JavaScript SDK against a cluster: what a first program does with it.

import assert from "node:assert/strict";
import { MeiliSearch } from "meilisearch";

const client = new MeiliSearch({ host: process.env.MEILI_URL, apiKey: process.env.MEILI_KEY });

async function done(promise) {
  const task = await client.tasks.waitForTask(await promise, { timeout: 60_000 });
  assert.equal(task.status, "succeeded", JSON.stringify(task));
  return task;
}

assert.equal(await client.isHealthy(), true);
assert.ok((await client.getVersion()).pkgVersion);

await done(client.createIndex("sdk-js", { primaryKey: "id" }));
const index = client.index("sdk-js");
await done(index.updateSettings({ filterableAttributes: ["genre", "year"], sortableAttributes: ["year"] }));
const films = Array.from({ length: 60 }, (_, i) => ({
  id: i,
  title: `film number ${i}`,
  genre: ["drama", "comedy", "war"][i % 3],
  year: 1950 + i,
}));
const added = await done(index.addDocuments(films));
assert.equal(added.details.receivedDocuments, 60);
assert.equal(added.details.indexedDocuments, 60);

const found = await index.search("film", {
  filter: "genre = drama AND year >= 1980",
  sort: ["year:desc"],
  facets: ["genre"],
  limit: 5,
});
assert.deepEqual(found.hits.map((hit) => hit.year), [2007, 2004, 2001, 1998, 1995]);
assert.equal(found.estimatedTotalHits, 10);
assert.deepEqual({ ...found.facetDistribution.genre }, { drama: 10 });

const got = await index.searchGet("number", { limit: 2, sort: ["year:asc"], attributesToRetrieve: ["id"] });
assert.deepEqual(got.hits, [{ id: 0 }, { id: 1 }]);

const several = await client.multiSearch({ queries: [{ indexUid: "sdk-js", q: "number", limit: 1 }, { indexUid: "sdk-js", q: "nothing" }] });
assert.deepEqual(several.results.map((r) => r.hits.length), [1, 0]);

await done(index.updateDocuments([{ id: 7, title: "renamed" }]));
assert.deepEqual(await index.getDocument(7), { id: 7, title: "renamed", genre: "comedy", year: 1957 });
await done(index.deleteDocument(7));
await done(index.deleteDocuments({ filter: "genre = war" }));
assert.equal((await index.getStats()).numberOfDocuments, 39);
const documents = await index.getDocuments({ limit: 100 });
assert.equal(documents.total, 39);
assert.ok(documents.results.every((document) => !("_miroir_shard" in document)));

const tasks = await client.tasks.getTasks({ indexUids: ["sdk-js"], limit: 3 });
assert.equal(tasks.results.length, 3);
assert.deepEqual((await index.getSettings()).filterableAttributes, ["genre", "year"]);
await assert.rejects(index.search("x", { filter: "title = x" }), (error) => error.cause?.code === "invalid_search_filter");

await done(index.delete());
assert.ok((await client.getIndexes()).results.every((i) => i.uid !== "sdk-js"));
console.log("javascript sdk: ok");
