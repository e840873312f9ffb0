// The System page: what comes in, how long forecasts take, how full the window is, what the log says.

import { follow } from "./api.js";
import "./collectors.js";
import { colour } from "./charts.js";
import { byId, fill, fillList, h, setText } from "./dom.js";
import { duration, metricName, number } from "./format.js";
import { prepare } from "./heat.js";
import { tables } from "./tables.js";

const FOLLOW_SECONDS = 2;
const SLOW_SECONDS = 15;
const PLOT_PIXELS = 90;
const LOUD = { WARNING: "warn", ERROR: "bad", CRITICAL: "bad" };

let system = null;
let log = { records: [] };

function show() {
  if (!system) return;
  delete byId("summary").dataset.loading;
  setText(byId("summary"), `up for ${duration(system.uptime_seconds)} · ${(system.resident_bytes / 1e6).toFixed(0)} MB of memory`);
  showFeed();
  showTicks();
  showWindow();
}

function showFeed() {
  const { minutes, rejected, batches } = system.feed;
  const lastWhole = minutes.at(-2);
  setText(byId("feed-now"), `${lastWhole.toLocaleString()} in the last whole minute`);
  const refused = rejected.reduce((sum, count) => sum + count, 0);
  setText(byId("feed-words"), `${batches.toLocaleString()} batches since the start; ` + (refused ? `${refused.toLocaleString()} records were refused in the last hour` : "no record was refused in the last hour"));
  byId("feed").setAttribute("aria-label", `records in each of the last ${minutes.length} minutes, at most ${Math.max(...minutes)}`);
  bars(byId("feed"), minutes, colour("accent"));
}

function showTicks() {
  const { seconds, failures } = system.forecast;
  setText(byId("tick-now"), seconds.length ? duration(seconds.at(-1)) : "–");
  const sorted = [...seconds].sort((a, b) => a - b);
  const words = seconds.length
    ? `median ${duration(sorted[Math.floor(sorted.length / 2)])}, longest ${duration(sorted.at(-1))} of the last ${seconds.length}`
    : "no forecast since the start";
  setText(byId("tick-words"), `${words}; ${failures ? `${failures} failed` : "none failed"}`);
  byId("tick").setAttribute("aria-label", words);
  bars(byId("tick"), seconds, failures ? colour("warn") : colour("ok"));
}

function showWindow() {
  const { window: held, warmup } = system;
  const shown = warmup.is_warmed_up ? (100 * held.samples) / Math.max(1, held.room) : warmup.progress_percent;
  setText(byId("window-now"), warmup.is_warmed_up ? `${held.servers_ready.toLocaleString()} of ${held.servers.toLocaleString()} servers ready` : `Warming up: ${number(warmup.progress_percent)} %`);
  byId("window-progress").value = shown;
  setText(byId("window-words"), warmup.is_warmed_up ? `${number(shown)} % of the slots of these servers hold a sample` : warmup.message);
  fill(byId("window-facts"), held, () => [
    fact("Samples", held.samples.toLocaleString()),
    fact("Slots", `${held.slots} of ${duration(held.interval_seconds)} each: ${duration(held.slots * held.interval_seconds)}`),
    fact("Room", `for ${(held.max_servers - held.servers).toLocaleString()} more servers`),
  ]);
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

/** The newest on the right, the tallest as high as the canvas. */
function bars(canvas, values, ink) {
  const width = canvas.parentElement.clientWidth - 36;
  const context = prepare(canvas, Math.max(100, width), PLOT_PIXELS);
  const space = Math.max(100, width) / Math.max(60, values.length);
  const tallest = Math.max(...values, 1e-9);
  context.fillStyle = colour("line");
  context.fillRect(0, PLOT_PIXELS - 1, width, 1);
  context.fillStyle = ink;
  values.forEach((value, index) => {
    const high = Math.max(value > 0 ? 2 : 0, (value / tallest) * (PLOT_PIXELS - 4));
    context.fillRect((Math.max(60, values.length) - values.length + index) * space + 1, PLOT_PIXELS - 1 - high, Math.max(1, space - 2), high);
  });
}

function showLog() {
  const calm = byId("log-calm").checked;
  const shown = named(log.records).filter(({ record }) => !calm || isLoud(record));
  const list = byId("log");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  fillList(list, shown, { key: ({ name }) => name, facts: ({ record }) => record, make: ({ record }) => describeRecord(record) });
  if (shown.length === 0) list.replaceChildren(h("li", { class: "muted" }, "Nothing."));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** A record that lost its beginning is the rest of a traceback. */
const isLoud = (record) => record.level === null || record.level in LOUD;

/** Each record with a name that stays the same while newer ones come: its time, and a number where a time is shared. */
function named(records) {
  const counts = new Map();
  return records.map((record) => {
    const count = counts.get(record.time) ?? 0;
    counts.set(record.time, count + 1);
    return { record, name: `${record.time} ${count}` };
  });
}

function describeRecord(record) {
  const head = [record.time, record.level?.padEnd(7)].filter(Boolean).join(" ");
  return h("li", { class: LOUD[record.level] ?? "" }, head ? `${head} ${record.text}` : record.text);
}

const FIGURES = [
  ["prediction_error_rate", "Forecasts beside the truth"],
  ["anomaly_rate", "Values far outside the forecast"],
  ["distribution_shift", "Data beside that of the training"],
  ["feature_drift", "The metric that moved most"],
];

function showDrift(drift) {
  fill(byId("drift"), { ...drift, timestamp: null }, () => {
    const measured = FIGURES.some(([name]) => drift[name] !== null && drift[name] !== undefined);
    return [
      h("p", { class: "big" }, measured ? (drift.needs_retraining ? "Retraining is due" : metricName(drift.status)) : "Not measured yet"),
      measured || h("p", { class: "muted" }, drift.message ?? "It begins when forecasts of the live model come due."),
      h("dl", { class: "facts wide" }, FIGURES.map(([name, label]) =>
        fact(label, `${number(drift[name])} of ${number(tables.drift_limits[name])}`))),
      ...(drift.reasons ?? []).map((reason) => h("p", { class: "reason" }, reason)),
    ].filter((part) => part !== true);
  });
}

function showCascades(cascade) {
  fill(byId("cascade"), { ...cascade, timestamp: null }, () => cascade.cascade_detected
    ? cascade.cascades.map((one) => h("p", { class: "reason" },
      `${metricName(one.metric)} goes ${one.direction} on ${one.affected_count} servers at once`))
    : h("p", { class: "muted" }, "No servers leave their forecasts together."));
}

follow("/view/system", () => FOLLOW_SECONDS, (body) => { system = body; show(); });
if (byId("log")) { // for admins
  follow("/view/log", () => FOLLOW_SECONDS, (body) => { log = body; showLog(); });
  byId("log-calm").addEventListener("change", showLog);
}
document.addEventListener("theme", show);
addEventListener("resize", show);
follow("/drift/status", () => SLOW_SECONDS, showDrift);
follow("/cascade/status", () => SLOW_SECONDS, showCascades);
