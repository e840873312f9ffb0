import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, pauses, requests, settled, tick, visited } from "./browser.js";

const { Refused, connection, follow, get, post, urlOf } = await load("api.js");

test("a page is told an answer once, however often it is asked for", async () => {
  const shown = [];
  answers.set("/status", { body: { n: 1 } });
  follow("/status", () => 2, (body) => shown.push(body.n));
  await settled();
  await tick();
  answers.set("/status", { body: { n: 2 } });
  await tick();
  assert.deepEqual(shown, [1, 2]);
  assert.deepEqual(pauses(), [2000]);
});

test("a refusal is said in the daemon's words, and the next question waits", async () => {
  answers.set("/status", { status: 429, body: { error: "busy", reason: "too many requests" } });
  await tick();
  assert.deepEqual(pauses(), [3000]);
  await assert.rejects(get("/status"), (error) => error instanceof Refused && error.message === "too many requests");
});

test("a page that is hidden asks nothing until it is seen again", async () => {
  document.hidden = true;
  await tick();
  assert.deepEqual(pauses(), []);
  const before = requests.length;
  document.hidden = false;
  document.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.equal(requests.length, before + 1);
});

test("that the daemon is away is said once, and that it is back", async () => {
  const events = [];
  for (const name of ["away", "back"]) connection.addEventListener(name, () => events.push(name));
  answers.set("/status", new TypeError("connection refused"));
  await tick();
  await tick();
  answers.set("/status", { body: { n: 3 } });
  await tick();
  assert.deepEqual(events, ["away", "back"]);
});

test("who is signed out is sent to the sign-in, and back to this page after it", async () => {
  answers.set("/admin/models", { status: 401, body: {} });
  Object.assign(location, { pathname: "/models", search: "?a=b" });
  await assert.rejects(get("/admin/models"), /signed out/);
  assert.deepEqual(visited, ["/sign-in?next=%2Fmodels%3Fa%3Db"]);
});

test("an order shows that one of the console's pages gave it", async () => {
  const real = fetch;
  let headers;
  globalThis.fetch = (path, options) => { headers = options.headers; return real(path, options); };
  answers.set("/admin/unpin", { status: 204 });
  assert.deepEqual(await post("/admin/unpin"), {});
  assert.equal(headers["X-Nordiq-Console"], "1");
  globalThis.fetch = real;
});

test("every address is under the path that a proxy has the daemon under", async () => {
  document.body.dataset.root = "/nordiq";
  location.pathname = "/nordiq/models";
  answers.set("/nordiq/view/log", { status: 401, body: { error: "unauthorized" } });
  await assert.rejects(get("/view/log"));
  assert.equal(visited.at(-1), `/nordiq/sign-in?next=${encodeURIComponent("/models" + location.search)}`);
  assert.equal(urlOf("/system"), "/nordiq/system");
  delete document.body.dataset.root;
  location.pathname = "/";
});
