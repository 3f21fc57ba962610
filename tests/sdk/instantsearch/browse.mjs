// InstantSearch in a real browser: type a query, click a facet, page on, and look at what is shown.
//
// The page comes from another origin than the server that it searches, so CORS has to work.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { Meilisearch } from "meilisearch";
import puppeteer from "puppeteer-core";

const { MEILI_URL: url, MEILI_KEY: key, PAGE, CHROMIUM, SCREENSHOT } = process.env;
const modules = path.join(import.meta.dirname, "node_modules");

async function fill() {
  const client = new Meilisearch({ host: url, apiKey: key });
  const index = client.index("films");
  await client.createIndex("films", { primaryKey: "id" });
  await index.updateSettings({ filterableAttributes: ["genre"], rankingRules: ["words", "typo", "sort", "year:asc"] });
  const films = Array.from({ length: 60 }, (_, id) => ({
    id,
    title: `${["Star", "Moon"][id % 2]} film ${id}`,
    genre: ["drama", "comedy", "war"][id % 3],
    year: 1950 + id,
  }));
  const task = await index.addDocuments(films).waitTask({ timeout: 60_000 });
  assert.equal(task.status, "succeeded", JSON.stringify(task));
  const found = await client.getKeys();
  return found.results.find(({ actions }) => actions.length === 1 && actions[0] === "search")?.key ?? key;
}

/** The page at `/`, the modules' own files beside it. */
function serve() {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    if (pathname === "/favicon.ico") return response.writeHead(204).end();
    try {
      const file = pathname === "/" ? PAGE : path.join(modules, path.normalize(pathname));
      response.setHeader("content-type", pathname === "/" ? "text/html; charset=utf-8" : "text/javascript");
      response.end(await readFile(file));
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

const searchKey = await fill();
const server = await serve();
const browser = await puppeteer.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
try {
  const page = await browser.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("requestfailed", (request) => problems.push(`${request.url()}: ${request.failure().errorText}`));

  /** Waits until the page shows this, and says what it shows when it does not. */
  async function shows(expected) {
    const look = () => ({
      stats: document.querySelector("#stats")?.textContent.trim(),
      hits: [...document.querySelectorAll("#hits li")].map((hit) => hit.textContent.trim()),
      marked: document.querySelector("#hits mark")?.textContent ?? null,
      genres: [...document.querySelectorAll("#genres label")].map((label) => label.textContent.replace(/\s+/g, " ").trim()),
      page: document.querySelector("#pages .ais-Pagination-item--selected")?.textContent ?? null,
    });
    const matches = `(${look})()`;
    try {
      await page.waitForFunction(`JSON.stringify(${matches}) === ${JSON.stringify(JSON.stringify(expected))}`, { timeout: 20_000 });
    } catch {
      assert.deepEqual(await page.evaluate(matches), expected, problems.join("\n"));
    }
  }
  const films = (name, ...ids) => ids.map((id) => `${name} film ${id}, ${1950 + id}`);

  const address = new URLSearchParams({ url, key: searchKey });
  await page.goto(`http://127.0.0.1:${server.address().port}/?${address}`);
  await page.waitForSelector("#hits li");
  await page.type("#box input", "star");
  await shows({
    stats: "30 films",
    hits: films("Star", 0, 2, 4, 6, 8),
    marked: "Star",
    genres: ["comedy10", "drama10", "war10"],
    page: "1",
  });
  await page.click('#genres input[value="war"]');
  await shows({
    stats: "10 films",
    hits: films("Star", 2, 8, 14, 20, 26),
    marked: "Star",
    genres: ["war10", "comedy10", "drama10"],
    page: "1",
  });
  await page.click("#pages .ais-Pagination-item--nextPage a");
  await shows({
    stats: "10 films",
    hits: films("Star", 32, 38, 44, 50, 56),
    marked: "Star",
    genres: ["war10", "comedy10", "drama10"],
    page: "2",
  });
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT });
  assert.deepEqual(problems, []);
  console.log(`instantsearch in ${await browser.version()}: typed, refined, paged`);
} finally {
  await browser.close();
  server.close();
}
