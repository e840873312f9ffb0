import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, settled, tick } from "./browser.js";

const NAME = "it's; rm -rf ~";
const HORIZON = 96;
const address = encodeURIComponent(NAME);

document.getElementById("server").dataset.name = NAME;
answers.set(`/view/servers/${address}`, { body: { server: NAME, known: false, standing: null } });
await load("server.js");
await settled();

test("the command for a server that is not known is one that a shell reads as its name", () => {
  const text = document.getElementById("problem").querySelector("code").textContent;
  assert.equal(text, "nordiq-watch agent --url=http://127.0.0.1:8000 --name='it'\\''s; rm -rf ~'");
});

test("the numbers ahead are those of the daemon's horizons", async () => {
  const many = (from) => Array.from({ length: HORIZON }, (_, index) => from + index);
  globalThis.Plotly = { react: async () => {} };
  answers.set(`/view/servers/${address}`, { body: {
    server: NAME, known: true, profile: "Generic", interval_seconds: 300, last_slot: 10, first_slot: 9, before: [], thresholds: {}, standing: null,
    metrics: [{ name: "cpu_user_pct", unit: "%", values: [1, 2] }],
  } });
  answers.set(`/predictions/${address}`, { body: {
    predictions: { [NAME]: { cpu_user_pct: { current: 2, p10: many(0), p50: many(100), p90: many(200), trend: 1 } } },
    metadata: { interval_seconds: 300, horizon_steps: HORIZON, horizon_start: "2025-01-30T14:30:00", prediction_time: null },
  } });
  await tick();
  await tick();
  const table = document.getElementById("numbers");
  assert.deepEqual(table.tHead.querySelectorAll("th").map((cell) => cell.textContent), ["Metric", "Now", "in 30 min", "in 2 h", "in 8 h", "Trend an hour"]);
  assert.deepEqual(table.tBodies[0].querySelectorAll("b").map((cell) => cell.textContent), ["105", "123", "195"]);
});

function explanation(members) {
  return {
    prediction: { target: "cpu_user_pct", unit: "%", p50: 40, at: "2025-01-30T15:00:00+00:00", baseline: 35 }, members,
    shap: { difference: 5, top_features: [{ feature: "cpu_user_pct", importance: 1, contribution: 5, stars: 5 }] },
    variable_selection: { encoder: {}, decoder: {} }, counterfactuals: [],
    attention: { weights: [1], from: "2025-01-30T14:00:00+00:00", until: "2025-01-30T14:30:00+00:00", analysis: "Evenly." },
  };
}

async function showExplanation(members, prediction_time) {
  answers.set(`/explain/${address}`, { body: explanation(members) });
  answers.set(`/predictions/${address}`, { body: {
    predictions: { [NAME]: { cpu_user_pct: { current: 2, p10: [1], p50: [2], p90: [3], trend: 1 } } },
    metadata: { interval_seconds: 300, horizon_steps: 1, horizon_start: "2025-01-30T14:30:00", prediction_time, model_version: "tft_model_20250130_143000" },
  } });
  await tick();
  await tick();
  await settled();
  return document.getElementById("explanation").textContent;
}

test("an explanation names the members of a blend with their weights", async () => {
  assert.match(await showExplanation({ network: 0.43, linear: 0.57 }, "2025-01-30T14:30:01"), /a blend: network 43 %, linear 57 %\./);
  assert.doesNotMatch(await showExplanation({ network: 1 }, "2025-01-30T14:30:02"), /blend/);
});

test("while nothing is forecast, the charts show what is measured, and none is hidden", async () => {
  const metrics = ["cpu_user_pct", "disk_usage_pct"].map((name) => ({ name, unit: "%", values: [1, 2] }));
  answers.set(`/view/servers/${address}`, { body: {
    server: NAME, known: true, profile: "Generic", interval_seconds: 300, last_slot: 10, first_slot: 9, before: [], thresholds: {}, standing: null, metrics,
  } });
  answers.set(`/predictions/${address}`, { body: {
    predictions: { [NAME]: { cpu_user_pct: { current: 2 }, disk_usage_pct: { current: 2 } } },
    metadata: { interval_seconds: 300, horizon_steps: 1, horizon_start: "2025-01-30T14:30:00", prediction_time: null, model_version: "baseline" },
  } });
  await tick();
  await tick();
  const shown = document.getElementById("charts").children.map((figure) => figure.dataset.metric);
  assert.deepEqual(shown.sort(), ["cpu_user_pct", "disk_usage_pct"]);
  assert.equal(document.getElementById("others-card").hidden, true);
  assert.equal(document.getElementById("numbers-card").hidden, true);
});
