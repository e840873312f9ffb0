import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, settled, tick } from "./browser.js";

const AT = "2025-01-30T14:35:22+00:00";
const PROMETHEUS = {
  format: "prometheus", key: "first", address: "10.0.0.5", user_agent: "Prometheus/2.42.0", first_heard: AT, last_heard: AT,
  batches: 3, postponed: 0, unit: "series", received: 3000, received_per_minute: 1000, taken: 60, unknown_names: [],
  dropped: [], newest_sample: AT, late_seconds: 2.5,
};
const dropped = (reason, count, example = "") => ({ reason, count, last: AT, example });

async function show(...sources) {
  answers.set("/feed/sources", { body: { since: AT, count: sources.length, forgotten: 0, sources } });
  await tick();
}

const table = () => document.getElementById("collectors");
const rows = () => table().tBodies[0].children;
const words = () => document.getElementById("collectors-words").textContent;
const cells = (row) => row.children.map((cell) => cell.textContent);

answers.set("/feed/sources", { body: { since: AT, count: 0, forgotten: 0, sources: [] } });
await load("collectors.js");
await settled();

test("before anything came the page says so and shows no table", () => {
  assert.equal(words(), "Nothing has fed this daemon since its start.");
  assert.equal(table().hidden, true);
});

test("a sender is shown with what comes from it and how late it is", async () => {
  await show(PROMETHEUS);
  assert.equal(table().hidden, false);
  const [sender, , comes, unknown, lost, late] = cells(rows()[0]);
  assert.equal(sender, "prometheus · 10.0.0.5Prometheus/2.42.0 · key first");
  assert.equal(comes, "1,000 series a minutesamples taken: 60");
  assert.deepEqual([unknown, lost, late], ["–", "–", "2.5 s"]);
});

test("what no rule knows is a number with names, and loud where nothing is known", async () => {
  const unknown_names = ["go_threads", "up", "a", "b", "c", "d"];
  await show({ ...PROMETHEUS, unknown_names, dropped: [dropped("unknown_series", 2900)] });
  assert.equal(cells(rows()[0])[3], "2,900 seriesgo_threads, up, a, b, c …");
  assert.equal(rows()[0].querySelector(".reason"), null);
  await show({ ...PROMETHEUS, unknown_names: ["up"], dropped: [dropped("unknown_series", 3000)] });
  assert.equal(rows()[0].querySelector(".reason").textContent, "none of 3,000 series is known");
});

test("what was dropped has its reason in words, and an example to point at", async () => {
  await show({
    ...PROMETHEUS, late_seconds: 86_400, postponed: 2,
    dropped: [dropped("too_old", 12_408, "timestamp is older"), dropped("clipped", 3), dropped("brand_new_reason", 1)],
  });
  const items = rows()[0].querySelectorAll("li");
  assert.deepEqual(items.map((item) => item.textContent), [
    "12,408: older than the window", "3: kept as the most or the least there can be", "1: brand new reason",
  ]);
  assert.deepEqual(items.map((item) => item.getAttribute("title")), ["timestamp is older", null, null]);
  assert.deepEqual(items.map((item) => item.className), ["", "muted", ""]);
  assert.match(cells(rows()[0])[2], /batches to be repeated: 2/);
  assert.equal(rows()[0].querySelectorAll(".reason").at(-1).textContent, "24 h");
});

test("two senders behind one address are two rows, and of very many the newest are shown", async () => {
  await show(PROMETHEUS, { ...PROMETHEUS, user_agent: "vmagent" }, { ...PROMETHEUS, key: null });
  assert.equal(rows().length, 3);
  await show(...Array.from({ length: 60 }, (_, number) => ({ ...PROMETHEUS, address: `10.0.1.${number}` })));
  assert.equal(rows().length, 50);
  assert.equal(words(), "Those heard last; 10 more are not shown.");
});
