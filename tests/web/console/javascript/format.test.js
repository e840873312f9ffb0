import assert from "node:assert/strict";
import test from "node:test";

import { load } from "./browser.js";

const { duration, metricName, number, parseTime, shortName, time, unitOf } = await load("format.js");
const { LEVELS, levelKind } = await load("levels.js");
const { tables } = await load("tables.js");

test("durations are told in the unit that fits", () => {
  const told = { 0.0001: "< 1 ms", 0.25: "250 ms", 3.14: "3.1 s", 90: "90 s", 1800: "30 min", 7200: "2 h", 9000: "2 h 30 min", 259200: "3 d" };
  for (const [seconds, text] of Object.entries(told)) assert.equal(duration(Number(seconds)), text);
});

test("numbers have three digits that count", () => {
  assert.deepEqual([0, 1.234, 12.34, 123.4, -0.5, null, undefined, NaN].map(number), ["0", "1.23", "12.3", "123", "-0.50", "–", "–", "–"]);
});

test("metrics are named as people name them, with the daemon's units", () => {
  assert.equal(metricName("cpu_user_pct"), "CPU user");
  assert.equal(metricName("net_in_mb_s"), "Net in");
  assert.equal(unitOf("cpu_user_pct"), "%");
  assert.equal(unitOf("uptime_days"), "days");
  assert.equal(unitOf("back_close_wait"), "connections");
  assert.equal(unitOf("never_heard_of"), "");
});

test("a moment without a zone is UTC", () => {
  assert.equal(parseTime("2025-01-30T14:30:00").toISOString(), "2025-01-30T14:30:00.000Z");
  assert.equal(parseTime("2025-01-30T14:30:00+02:00").toISOString(), "2025-01-30T12:30:00.000Z");
});

const hours = (ahead) => time(new Date(Date.now() + ahead * 3600e3).toISOString()).textContent;

test("a moment of today is a time of day, an earlier or a later one has its day as well", () => {
  for (const near of [-2, 0, 2]) assert.match(hours(near), /^\d+:\d\d( [AP]M)?$/);
  for (const far of [-72, 72]) assert.match(hours(far), /[A-Z][a-z]{2}.*\d+:\d\d/);
});

test("versions are named without what all names share", () => {
  assert.equal(shortName("models/tft_model_20250131_143000"), "20250131_143000");
});

test("every level that the daemon knows has a colour of its own, the worst first", () => {
  assert.deepEqual(LEVELS, [...tables.levels].reverse());
  const kinds = LEVELS.map(levelKind);
  assert.deepEqual(kinds, ["bad", "hot", "warn", "ok"]);
  assert.equal(levelKind(null), "");
});
