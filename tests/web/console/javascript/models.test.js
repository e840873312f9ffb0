import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, settled, tick } from "./browser.js";

const { tables } = await load("tables.js");

function reload(changes) {
  return {
    id: 1, trigger: "watcher", state: "finished", outcome: "loaded", reason: null, version: "tft_model_20250131_143000", requested: null,
    created_at: "2025-01-31T14:30:00", seconds: 1.5, current_model: "tft_model_20250130_143000",
    stages: tables.stages.map((name) => ({ name, seconds: 0.1 })), ...changes,
  };
}

async function show(...reloads) {
  answers.set("/admin/reloads?limit=30", { body: { reloads } });
  await tick();
  return document.getElementById("timeline").children;
}

answers.set("/admin/reloads?limit=30", { body: { reloads: [] } });
await load("models.js");
await settled();

test("every outcome that the daemon knows is told in words, and its colour is the daemon's judgement", async () => {
  const outcomes = Object.keys(tables.outcomes);
  const rows = await show(...outcomes.map((outcome, id) => reload({ id, outcome })));
  for (const [index, outcome] of outcomes.entries()) {
    assert.equal(rows[index].dataset.kind, tables.outcomes[outcome] ? "ok" : "bad");
    const words = rows[index].querySelector(".what").textContent.replace("20250131_143000", "").trim();
    assert.ok(words.length > 5 && words !== outcome || outcome === "unpinned", `${outcome} is told as ${words}`);
  }
});

test("an outcome of a newer daemon is shown by its name", async () => {
  const [row] = await show(reload({ outcome: "postponed" }));
  assert.match(row.textContent, /postponed/);
  assert.match(document.getElementById("progress").textContent, /postponed/);
});

test("a reload under way shows what it passed, where it is, and what lies ahead", async () => {
  await show(reload({ id: 7, trigger: "api", state: "running", outcome: null, seconds: null, stages: [{ name: "queued", seconds: 0.01 }, { name: "verified", seconds: 0.2 }] }));
  const stages = document.getElementById("progress").querySelectorAll("li").map((stage) => [stage.querySelector(".name").textContent, stage.dataset.state]);
  assert.deepEqual(stages, [["queued", "done"], ["verified", "done"], ["loaded", "now"], ["canary", "open"], ["live", "open"]]);
});

test("a drop that was refused shows at which stage", async () => {
  await show(reload({ id: 8, outcome: "rejected", reason: "cpu_user_pct is forecast from 500", stages: tables.stages.slice(0, 5).map((name) => ({ name, seconds: 0.1 })) }));
  const stages = document.getElementById("progress").querySelectorAll("li").map((stage) => stage.dataset.state);
  assert.deepEqual(stages, ["done", "done", "done", "done", "done", "failed", "open"]);
  assert.match(document.getElementById("progress").textContent, /20250130_143000 goes on answering/);
});

function version(comparison, epochs = 3) {
  return {
    name: "tft_model_20250131_143000", path: "models/tft_model_20250131_143000", timestamp: "20250131_143000", is_current: false,
    state: "available", size_mb: 1, modified: "2025-01-31T14:35:22", sha256: null, accuracy: null,
    training: { epochs, training_time: 60, servers_trained: 5, validation: null, comparison },
  };
}

async function showVersion(comparison, epochs) {
  answers.set("/admin/models", { body: { models: [version(comparison, epochs)], count: 1, models_dir: "models", current_model: null, pinned_model: null } });
  await show(reload({ id: 20 }));
  await tick();
  return document.getElementById("versions").tBodies[0].children[0].textContent;
}

test("a version shows its error beside last value and beside the newest version of its time", async () => {
  const comparison = {
    windows: 2000, beside_last_value: 0.86, passed: true, newest: "tft_model_20250123_000000", beside_newest: 1.03, newest_skipped: null, targets: {},
  };
  assert.match(await showVersion(comparison), /−14 % beside last value, \+3 % beside 20250123_000000/);
  assert.match(await showVersion({ ...comparison, beside_last_value: 1.3, passed: false }), /\+30 % beside last value.*dropped anyway/);
});

test("a version without figures shows none", async () => {
  assert.doesNotMatch(await showVersion(null), /beside/);
});

function liveModel(members) {
  return {
    loaded: true, model_name: "tft_model_20250131_143000", generation: 2, sha256: "ab".repeat(32), members, pinned: false, servers: { total: 5, known: 5 },
    config: { max_prediction_length: 96, max_encoder_length: 288, interval_seconds: 300, quantiles: [0.1, 0.5, 0.9], metrics: ["cpu_user_pct"], targets: ["cpu_user_pct"] },
  };
}

async function showLiveModel(members) {
  answers.set("/admin/model-info", { body: liveModel(members) });
  await tick();
  return document.getElementById("live").textContent;
}

test("the live model names what its forecast is a blend of, where it is one", async () => {
  assert.match(await showLiveModel(["network", "linear", "rows"]), /Blend ofnetwork, linear, rows/);
  assert.doesNotMatch(await showLiveModel(["network"]), /Blend/);
});

test("a training that ended within its first epoch is told as such", async () => {
  assert.match(await showVersion(null, 0), /0 epochs in 60 s on 5 servers/);
  assert.match(await showVersion(null, null), /not said/);
});
