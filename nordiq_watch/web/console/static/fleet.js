// The Fleet page: numbers, a map of all servers over time, and a list of which only what is in sight exists.

import { follow, serverPage } from "./api.js";
import { colour } from "./charts.js";
import { agentCommand } from "./commands.js";
import { byId, fill, fillList, h, setText } from "./dom.js";
import { showAlerts, showMaintenance } from "./fleet_lists.js";
import { showMap } from "./fleet_map.js";
import { duration, forecastBy, metricName, number, time } from "./format.js";
import { labelsText, offerGroups, showGroups } from "./groups.js";
import { NOT_KNOWN, decode, drawSparkline, prepare, valueOf } from "./heat.js";
import { LEVELS, levelKind } from "./levels.js";
import { tables } from "./tables.js";

const FOLLOW_SECONDS = 3;
const ROW_PIXELS = 44;
const SPARE_ROWS = 6;
const FEW_ROWS = 100; // up to this many rows are all created, so that the browser's own search finds them

let fleet = null;
let metric = null;
let order = [];
let sorting = { by: "worst", down: true };

// --- the fleet's answer, ready to be drawn ---

function take(body) {
  fleet = body;
  const known = body.servers.length > 0;
  byId("fleet").hidden = !known;
  byId("problem").hidden = known;
  delete byId("summary").dataset.loading;
  if (!known) return tellProblem();
  for (const one of body.metrics) {
    one.pastBytes = decode(one.past);
    one.futureBytes = decode(one.future);
    one.now = body.servers.map((_, row) => lastKnown(one.pastBytes, row, body.past.length));
    one.ahead = body.servers.map((_, row) => highest(one.futureBytes, row, body.future.length));
  }
  offerMetrics();
  offerGroups(body);
  showAll();
}

function lastKnown(bytes, row, columns) {
  for (let column = columns - 1; column >= 0; column--) {
    const byte = bytes[row * columns + column];
    if (byte !== NOT_KNOWN) return byte;
  }
  return NOT_KNOWN;
}

function highest(bytes, row, columns) {
  let found = NOT_KNOWN;
  for (let column = 0; column < columns; column++) {
    const byte = bytes[row * columns + column];
    if (byte !== NOT_KNOWN && (found === NOT_KNOWN || byte > found)) found = byte;
  }
  return found;
}

function tellProblem() {
  setText(byId("summary"), "");
  fill(byId("problem"), [fleet.error, fleet.message], () => {
    const noModel = fleet.error !== "insufficient_data";
    return h("div", { class: "steps" },
      h("p", { class: "big" }, noModel ? "No forecast yet" : "Warming up"),
      h("p", { class: "muted" }, fleet.message ?? "The first forecast is being made."),
      noModel
        ? h("pre", {}, h("code", {}, "nordiq-watch train --dataset data/ --max-minutes 15"))
        : h("pre", {}, h("code", {}, agentCommand(location.origin))),
      h("p", { class: "muted" }, noModel ? "trains a model on your data; it goes live by itself." : "on every host feeds its metrics."));
  });
}

function offerMetrics() {
  const select = byId("metric");
  const names = fleet.metrics.map((one) => one.name);
  fill(select, names, () => names.map((name) => h("option", { value: name }, metricName(name))));
  const wanted = names.includes(select.value) ? select.value : names[0];
  select.value = wanted;
  metric = fleet.metrics.find((one) => one.name === wanted);
}

const hasRisk = () => fleet.risks.some((risk) => risk !== null);

// --- what is shown ---

function showAll() {
  const meta = fleet.metadata;
  fill(byId("summary"), [meta.prediction_time, meta.model_version, meta.stale, fleet.cold], () => [
    `${forecastBy(meta.model_version)} at `, time(meta.prediction_time),
    meta.stale && h("span", { class: "badge warn" }, "stale"),
    fleet.cold > 0 && ` · ${fleet.cold} more are warming up`,
  ].filter(Boolean));
  arrange();
  showTiles();
  showAlerts(fleet);
  showMaintenance(fleet.maintenance);
  drawMap();
  showGroups(fleet, searchFor);
  showHead();
  showRows(true);
}

function searchFor(words) {
  byId("search").value = words;
  arrange();
  drawMap();
  showRows(true);
}

const drawMap = () => showMap({ fleet, metric, order });

/** Which servers, in which order. */
function arrange() {
  const words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = fleet.servers.map((_, row) => row).filter((row) => {
    const text = `${fleet.servers[row]} ${fleet.profiles[row]} ${fleet.levels[row] ?? ""} ${isMaintained(row) ? "maintenance" : ""} ${labelsText(fleet, row)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const key = KEYS[sorting.by];
  const sign = sorting.down ? -1 : 1;
  order = rows.map((row) => [key(row), row])
    .sort(([a, i], [b, j]) => (a < b ? -sign : a > b ? sign : i - j)).map(([, row]) => row);
}

const isMaintained = (row) => Object.hasOwn(fleet.maintenance, fleet.servers[row]);
const knownOr = (byte) => (byte === NOT_KNOWN ? -1 : byte);
const KEYS = {
  name: (row) => fleet.servers[row],
  profile: (row) => fleet.profiles[row],
  worst: (row) => fleet.risks[row] ?? -1,
  now: (row) => knownOr(metric.now[row]),
  ahead: (row) => knownOr(metric.ahead[row]),
};

function showTiles() {
  const counts = hasRisk()
    ? LEVELS.map((level) => ({ level, count: fleet.levels.filter((one) => one === level).length }))
    : [];
  const chances = fleet.environment;
  const tiles = [
    { name: "servers", value: fleet.servers.length.toLocaleString() },
    ...counts.map(({ level, count }) => ({ name: level, value: count.toLocaleString(), kind: count > 0 ? levelKind(level) : "" })),
    ...(chances ? Object.entries(tables.chances).map(([name, seconds]) =>
      ({ name: `chance of an incident in ${duration(seconds)}`, value: percent(chances[name]) })) : []),
  ];
  fillList(byId("tiles"), tiles, {
    key: (tile) => tile.name,
    make: (tile) => h("li", { class: tile.kind ?? "" }, h("b", {}, tile.value), h("span", { class: "muted" }, tile.name)),
  });
}

const percent = (share) => (share === null ? "not known" : share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`);

// --- the list ---

function columnsShown() {
  return [
    { by: "name", label: "Server" }, { by: "profile", label: "Profile", wide: true },
    { by: "worst", label: "Risk", number: true },
    { by: "now", label: metric.name === "risk" ? "Score now" : "Now", number: true }, { by: "ahead", label: "Peak ahead", number: true },
    { label: "Before, and ahead", wide: true },
  ];
}

function showHead() {
  fill(byId("list-head"), [sorting, metric.name], () => columnsShown().map(({ by, label, number: isNumber, wide }) =>
    h("span", {
      role: "columnheader", class: [isNumber && "number", wide && "wide"].filter(Boolean).join(" "),
      "aria-sort": by && by === sorting.by ? (sorting.down ? "descending" : "ascending") : null,
    }, by ? h("button", { type: "button", class: "quiet", "data-action": by, onclick: () => sortBy(by) },
      label, h("span", { "aria-hidden": "true" }, by === sorting.by ? (sorting.down ? " ↓" : " ↑") : "")) : label)));
}

function sortBy(by) {
  sorting = { by, down: by === sorting.by ? !sorting.down : !["name", "profile"].includes(by) };
  arrange();
  drawMap();
  showHead();
  showRows(true);
}

let drawnFrom = -1;
let drawnTo = -1;

/** Makes the rows in sight, and a few more on both sides; the rest of the list is empty space of the right height. */
function showRows(anew = false) {
  const body = byId("list-body");
  byId("list-none").hidden = order.length > 0;
  byId("list").setAttribute("aria-rowcount", String(order.length + 1));
  body.style.height = `${order.length * ROW_PIXELS}px`;
  const top = body.getBoundingClientRect().top;
  const few = order.length <= FEW_ROWS;
  const from = few ? 0 : Math.max(0, Math.floor(-top / ROW_PIXELS) - SPARE_ROWS);
  const inSight = Math.ceil((window.innerHeight - top) / ROW_PIXELS);
  const to = few ? order.length : Math.min(order.length, Math.max(from, inSight) + SPARE_ROWS);
  if (!anew && from === drawnFrom && to === drawnTo) return;
  [drawnFrom, drawnTo] = [from, to];
  const places = [];
  for (let place = from; place < to; place++) places.push(place);
  fillList(body, places, {
    key: (place) => fleet.servers[order[place]],
    facts: (place) => [metric.name, place, fleet.risks[order[place]], fleet.metadata.prediction_time, fleet.metadata.model_version, isMaintained(order[place])],
    make: describeRow,
  });
  for (const row of body.children) drawRow(row);
}

function describeRow(place) {
  const row = order[place];
  const name = fleet.servers[row];
  const risk = fleet.risks[row];
  const line = h("div", { role: "row", class: "row", "aria-rowindex": String(place + 2), "data-row": String(row) },
    h("span", { role: "rowheader" }, h("a", { href: serverPage(name), "data-action": name }, name),
      isMaintained(row) && h("span", { class: "badge info", title: "in maintenance: no alert of it is raised" }, "maintenance")),
    h("span", { role: "cell", class: "wide muted" }, fleet.profiles[row]),
    h("span", { role: "cell", class: "number" }, risk === null ? h("span", { class: "muted", title: "none of its metrics has a threshold" }, "–")
      : h("span", { class: `badge ${levelKind(fleet.levels[row])}` }, number(risk))),
    h("span", { role: "cell", class: "number" }, number(valueOf(metric.now[row], metric.scale))),
    h("span", { role: "cell", class: "number" }, number(valueOf(metric.ahead[row], metric.scale))),
    h("span", { role: "cell", class: "wide" }, h("canvas", { "aria-hidden": "true" })));
  line.style.top = `${place * ROW_PIXELS}px`;
  return line;
}

function drawRow(line) {
  const canvas = line.querySelector("canvas");
  const width = canvas.parentElement.clientWidth;
  const key = `${line.dataset.print} ${width} ${colour("text")}`;
  if (width === 0 || line.dataset.drawn === key) return;
  line.dataset.drawn = key;
  const row = Number(line.dataset.row);
  const slice = (bytes, columns) => [...bytes.subarray(row * columns, (row + 1) * columns)];
  drawSparkline(prepare(canvas, width, 28), {
    past: slice(metric.pastBytes, fleet.past.length), future: slice(metric.futureBytes, fleet.future.length),
    width, height: 28, ink: colour("muted"), accent: colour("accent"),
  });
}

let frame = 0;
function soon(work) {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(work);
}

addEventListener("scroll", () => fleet?.servers.length && soon(() => showRows()), { passive: true });
addEventListener("resize", () => fleet?.servers.length && soon(() => { drawMap(); showRows(true); }));
document.addEventListener("theme", () => fleet?.servers.length && showAll());
byId("search").addEventListener("input", () => searchFor(byId("search").value));
byId("group").addEventListener("change", () => showGroups(fleet, searchFor));
byId("metric").addEventListener("change", () => { offerMetrics(); showAll(); });
follow("/view/fleet", () => FOLLOW_SECONDS, take);
