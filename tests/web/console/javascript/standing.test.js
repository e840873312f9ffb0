import assert from "node:assert/strict";
import test from "node:test";

import { answers, document, load, requests, sent, settled, visited } from "./browser.js";

const NAME = "rack/7, it's";
const path = `/servers/${encodeURIComponent(NAME)}`;
const UNTIL = "2030-01-31T14:35:00+00:00";

const { tables } = await load("tables.js");
const { listenToOrders, showStanding } = await load("standing.js");
let asked = 0;
listenToOrders(NAME, async () => { asked += 1; });

function show(changes, version = "tft_model_20250131_143000") {
  showStanding({ server_name: NAME, profile: "Generic", state: "live", last_seen: null, labels: {}, maintenance: null, ...changes }, version);
  return document.getElementById("standing").textContent;
}

const inMaintenance = { state: "maintenance", maintenance: { by: "order", until: UNTIL, reason: "new disk", since: "2025-01-31T14:35:00+00:00" } };
const outcome = () => document.getElementById("outcome");

async function press(id, event = "click") {
  const pressed = new Event(event, { cancelable: true });
  document.getElementById(id).dispatchEvent(pressed);
  await settled();
  return pressed;
}

async function confirm(answer) {
  const dialog = document.getElementById("confirm");
  dialog.returnValue = answer;
  dialog.dispatchEvent(new Event("close"));
  await settled();
}

const orders = () => requests.filter((request) => request.includes(path));

test("every state that the daemon knows is told in words", () => {
  for (const state of tables.states) assert.ok(show({ state }).match(new RegExp(`^State${state} .{8,}Last`)), show({ state }));
});

test("a server shows its labels, by name, and who answers", () => {
  assert.match(show({ labels: { team: "web", env: "<b>prod</b>" } }), /Labelsenv: <b>prod<\/b>team: web/);
  assert.match(show({}), /Labelsnone.*Answered byversion 20250131_143000$/);
  assert.match(show({}, "baseline"), /Answered bythe built-in forecast$/);
  assert.match(show({}, "starter"), /Answered bythe starter model$/);
  assert.match(show({}, null), /Answered byno forecast yet$/);
});

test("an order's end, reason and beginning are told, and it can be ended; what the records say cannot", () => {
  assert.match(show(inMaintenance), /Maintenanceuntil .*: new disk \(begun .*\)/);
  assert.equal(document.getElementById("end").hidden, false);
  assert.match(show({ state: "maintenance", maintenance: { by: "status", until: null, reason: "its newest record says so", since: null } }), /Maintenanceits newest record says so/);
  assert.equal(document.getElementById("end").hidden, true);
});

test("an hour of maintenance is offered, in the reader's zone", () => {
  const ahead = new Date(document.getElementById("until").value) - Date.now();
  assert.ok(ahead > 3500_000 - 60_000 && ahead <= 3600_000, String(ahead));
});

test("maintenance is begun until the time of the form, with its reason, and shown at once", async () => {
  answers.set(`${path}/maintenance`, { body: { success: true, server_name: NAME, maintenance: inMaintenance.maintenance } });
  document.getElementById("until").value = "2030-01-31T14:35";
  document.getElementById("reason").value = "  new disk ";
  const before = asked;
  assert.equal((await press("orders", "submit")).defaultPrevented, true);
  assert.equal(orders().at(-1), `POST ${path}/maintenance`);
  assert.deepEqual(sent.at(-1), { until: "2030-01-31T14:35:00.000Z", reason: "new disk" });
  assert.equal(asked, before + 2);
  assert.match(outcome().textContent, /in maintenance/);
});

test("what the daemon refuses is told in its words", async () => {
  answers.set(`${path}/maintenance`, { status: 400, body: { error: "Bad request", detail: "until is past; must be a time to come" } });
  await press("orders", "submit");
  assert.deepEqual([outcome().textContent, outcome().className], ["until is past; must be a time to come", "reason"]);
});

test("maintenance is ended, and one that the records say is told to stay", async () => {
  answers.set(`${path}/maintenance`, { body: { success: true, server_name: NAME, maintenance: null } });
  await press("end");
  assert.equal(orders().at(-1), `DELETE ${path}/maintenance`);
  assert.match(outcome().textContent, /has ended/);
  answers.set(`${path}/maintenance`, { body: { success: true, server_name: NAME, maintenance: { by: "status" } } });
  await press("end");
  assert.match(outcome().textContent, /its own records say/);
});

test("a server is removed after a yes alone, and the fleet is shown", async () => {
  answers.set(path, { body: { success: true, server_name: NAME, forgotten: ["window"], pending: [] } });
  const before = orders().length;
  await press("remove");
  assert.equal(document.getElementById("confirm-title").textContent, `Remove ${NAME}?`);
  await confirm("no");
  assert.equal(orders().length, before);
  await press("remove");
  await confirm("yes");
  assert.deepEqual([orders().at(-1), visited.at(-1)], [`DELETE ${path}`, "/"]);
});

test("a removal that a slow disk holds up is told so, and the page stays", async () => {
  answers.set(path, { body: { success: false, server_name: NAME, forgotten: ["window"], pending: ["history"] } });
  const pages = visited.length;
  await press("remove");
  await confirm("yes");
  assert.match(outcome().textContent, /history did not answer/);
  assert.equal(visited.length, pages);
});

test("a reader is offered nothing, and sees the same", async () => {
  document.absent.add("orders");
  listenToOrders(NAME, () => assert.fail("nothing was ordered"));
  assert.match(show(inMaintenance), /until/);
  document.absent.delete("orders");
});
