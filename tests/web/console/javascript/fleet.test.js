import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, settled, tick } from "./browser.js";

const bytes = (...values) => btoa(String.fromCharCode(...values));
const alert = (kind, server, level) => ({ kind, server_name: server, level, message: `${kind} of ${server}` });

function fleet(changes) {
  return {
    servers: ["ppdb001", "ppml001"], profiles: ["Database", "ML Compute"], label_sets: [{ team: "data", env: "prod" }, {}], label_codes: [0, 1], risks: [82, 12], levels: ["critical", "healthy"],
    past: [0, 300], future: [600],
    metrics: [{ name: "risk", unit: "", scale: 100, past: bytes(10, 200, 5, 255), future: bytes(205, 30) }],
    cold: 0, environment: { prob_30m: 0.25, prob_8h: 0.004 }, alert_count: 0, alerts: [], maintenance: {},
    metadata: { prediction_time: "2025-01-30T14:30:00", model_version: "tft_model_20250130_143000", stale: false },
    ...changes,
  };
}

async function show(changes) {
  answers.set("/view/fleet", { body: fleet(changes) });
  await tick();
}

const alerts = () => document.getElementById("alerts").children.map((row) => row.textContent);
const names = () => document.getElementById("list-body").querySelectorAll("a").map((link) => link.textContent);

answers.set("/view/fleet", { body: fleet() });
await load("fleet.js");
await settled();

test("a server that is at risk and silent has two alerts, however often the answer changes", async () => {
  const both = [alert("risk", "ppdb001", "critical"), alert("silent", "ppdb001", "warning"), alert("risk", "ppml001", "degraded")];
  const told = ["criticalppdb001risk of ppdb001", "warningppdb001silent of ppdb001", "degradedppml001risk of ppml001"];
  for (let minute = 10; minute < 16; minute++) {
    const metadata = { ...fleet().metadata, prediction_time: `2025-01-30T14:${minute}:00` };
    await show({ alerts: both, alert_count: 3, metadata });
    assert.deepEqual(alerts(), told);
  }
});

test("an alert that ended is gone, and the other one of its server stays", async () => {
  await show({ alerts: [alert("silent", "ppdb001", "warning")], alert_count: 1 });
  assert.deepEqual(alerts(), ["warningppdb001silent of ppdb001"]);
  await show({ alerts: [], alert_count: 0 });
  assert.equal(document.getElementById("alerts-card").hidden, true);
});

test("the numbers are of the daemon's levels and horizons", async () => {
  await show({});
  assert.deepEqual(document.getElementById("tiles").children.map((tile) => tile.textContent), [
    "2servers", "1critical", "0warning", "0degraded", "1healthy",
    "25 %chance of an incident in 30 min", "< 1 %chance of an incident in 8 h",
  ]);
});

test("a chance that is not known is no 0 %", async () => {
  await show({ environment: { prob_30m: null, prob_8h: null } });
  assert.deepEqual(document.getElementById("tiles").children.map((tile) => tile.textContent).slice(-2), [
    "not knownchance of an incident in 30 min", "not knownchance of an incident in 8 h",
  ]);
});

test("the worst server stands first, and a search leaves those that match", async () => {
  assert.deepEqual(names(), ["ppdb001", "ppml001"]);
  document.getElementById("search").value = "ML comp";
  document.getElementById("search").dispatchEvent(new Event("input"));
  assert.deepEqual(names(), ["ppml001"]);
  document.getElementById("search").value = "";
  document.getElementById("search").dispatchEvent(new Event("input"));
});

const marked = () => document.getElementById("list-body").children.filter((line) => /maintenance/.test(line.textContent));

test("what is in maintenance is listed with its end and reason, forecast or not, and marked in the list of servers", async () => {
  const order = { by: "order", until: "2025-02-03T06:00:00+00:00", reason: "new disk", since: "2025-01-30T14:00:00+00:00" };
  const said = { by: "status", until: null, reason: "its newest record says so", since: null };
  await show({ maintenance: { gone: said, ppml001: order } });
  assert.equal(document.getElementById("maintenance-card").hidden, false);
  assert.equal(document.getElementById("maintenance-heading").textContent, "In maintenance (2)");
  const [first, second] = document.getElementById("maintenance").children.map((line) => line.textContent);
  assert.equal(first, "no alertgoneits newest record says so");
  assert.match(second, /^no alertppml001until .*: new disk \(begun /);
  assert.deepEqual(marked().map((line) => line.querySelectorAll("a")[0].textContent), ["ppml001"]);
  document.getElementById("search").value = "maintenance";
  document.getElementById("search").dispatchEvent(new Event("input"));
  assert.deepEqual(names(), ["ppml001"]);
  document.getElementById("search").value = "";
  document.getElementById("search").dispatchEvent(new Event("input"));
  await show({});
  assert.equal(document.getElementById("maintenance-card").hidden, true);
  assert.deepEqual(marked(), []);
});

test("an empty fleet says what to do", async () => {
  await show({ servers: [], error: "insufficient_data", message: "still warming up", alerts: undefined });
  assert.equal(document.getElementById("fleet").hidden, true);
  assert.match(document.getElementById("problem").textContent, /nordiq-watch agent --url=http:\/\/127\.0\.0\.1:8000/);
});

const groups = () => document.getElementById("groups").children.map((group) => group.textContent);

async function groupBy(value) {
  document.getElementById("group").value = value;
  document.getElementById("group").dispatchEvent(new Event("change"));
  await settled();
}

test("servers are grouped by profile and by each label, the worst group first; a group is searched for", async () => {
  document.getElementById("search").value = "";
  await show({ risks: [82, null], levels: ["critical", null] });
  assert.equal(document.getElementById("groups").hidden, true);
  const offered = document.getElementById("group").children.map((option) => option.textContent);
  assert.deepEqual(offered, ["not grouped", "by profile", "by env", "by team"]);
  await groupBy("profile");
  assert.deepEqual(groups(), ["Database 1 82.0", "ML Compute 1 "]);
  await groupBy("label:team");
  assert.deepEqual(groups(), ["data 1 82.0", "without 1 "]);
  document.getElementById("groups").querySelectorAll("button")[0].dispatchEvent(new Event("click"));
  await settled();
  assert.equal(document.getElementById("search").value, "team:data");
  assert.deepEqual(names(), ["ppdb001"]);
  await groupBy("");
  assert.equal(document.getElementById("groups").hidden, true);
});
