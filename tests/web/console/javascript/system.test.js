import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, settled, tick } from "./browser.js";

const record = (time, level, text) => ({ time, level, text });
const AT = "2025-01-30T14:35:22.120Z";
const TRACEBACK = "forecaster: a step failed\nTraceback (most recent call last):\nValueError: broken";

async function show(records, { calm = false } = {}) {
  answers.set("/view/log", { body: { records } });
  await tick();
  document.getElementById("log-calm").checked = calm;
  document.getElementById("log-calm").dispatchEvent(new Event("change"));
}

const lines = () => document.getElementById("log").children;
const texts = () => lines().map((line) => line.textContent);

answers.set("/view/log", { body: { records: [] } });
await load("system.js");
await settled();

test("only warnings and errors are shown where only those are asked for, with their tracebacks", async () => {
  const records = [record(AT, "INFO", "daemon: serving"), record(AT, "WARNING", "room: little"), record(AT, "ERROR", TRACEBACK), record(AT, "CRITICAL", "daemon: over")];
  await show(records, { calm: true });
  assert.deepEqual(texts(), [`${AT} WARNING room: little`, `${AT} ERROR   ${TRACEBACK}`, `${AT} CRITICAL daemon: over`]);
  assert.deepEqual(lines().map((line) => line.className), ["warn", "bad", "bad"]);
  await show(records);
  assert.equal(lines().length, 4);
  assert.equal(lines()[0].className, "");
});

test("the rest of a record that lost its beginning is shown as it is", async () => {
  await show([record(null, null, "ValueError: broken"), record(AT, "INFO", "daemon: serving")], { calm: true });
  assert.deepEqual(texts(), ["ValueError: broken"]);
});

test("records of one moment are all there, and stay the same elements while newer ones come", async () => {
  const many = [record(AT, "INFO", "a"), record(AT, "INFO", "b"), record(AT, "INFO", "a")];
  await show(many);
  const before = lines();
  await show([...many, record("2025-01-30T14:35:23.000Z", "INFO", "c")]);
  assert.deepEqual(lines().slice(0, 3), before);
  assert.equal(lines().length, 4);
});

test("a log without a warning says so, and is filled again", async () => {
  await show([record(AT, "INFO", "a")], { calm: true });
  assert.deepEqual(texts(), ["Nothing."]);
  await show([record(AT, "INFO", "a")]);
  assert.deepEqual(texts(), [`${AT} INFO    a`]);
});
