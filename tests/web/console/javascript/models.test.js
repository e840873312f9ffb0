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
