// The Fleet page: numbers, a map of all servers over time, and a list of which only what is in sight exists.

import { follow, urlOf } from "./api.js";
import { colour } from "./charts.js";
import { agentCommand } from "./commands.js";
import { byId, fill, fillList, h, setText } from "./dom.js";
import { clockTime, dayTime, duration, forecastBy, metricName, number, time } from "./format.js";
import { labelsText, offerGroups, showGroups } from "./groups.js";
import { FULL, NOT_KNOWN, decode, drawMap, drawSparkline, palette, prepare, valueOf } from "./heat.js";
import { LEVELS, levelKind } from "./levels.js";
import { tables } from "./tables.js";

const FOLLOW_SECONDS = 3;
const ROW_PIXELS = 44;
const SPARE_ROWS = 6;
const FEW_ROWS = 100; // up to this many rows are all created, so that the browser's own search finds them
const TALLEST_MAP = 300;
const ROW_OF_MAP = 18;
const GAP_PIXELS = 3;

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
  showAlerts();
  showMap();
  showGroups(fleet, searchFor);
  showHead();
  showRows(true);
}

function searchFor(words) {
  byId("search").value = words;
  arrange();
  showMap();
  showRows(true);
}

/** Which servers, in which order. */
function arrange() {
  const words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = fleet.servers.map((_, row) => row).filter((row) => {
    const text = `${fleet.servers[row]} ${fleet.profiles[row]} ${fleet.levels[row] ?? ""} ${labelsText(fleet, row)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const key = KEYS[sorting.by];
  const sign = sorting.down ? -1 : 1;
  order = rows.map((row) => [key(row), row])
    .sort(([a, i], [b, j]) => (a < b ? -sign : a > b ? sign : i - j)).map(([, row]) => row);
}

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
    { name: "servers forecast", value: fleet.servers.length.toLocaleString() },
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

function showAlerts() {
  byId("alerts-card").hidden = !fleet.alerts?.length;
  if (!fleet.alerts?.length) return;
  const more = fleet.alert_count - fleet.alerts.length;
  setText(byId("alerts-heading"), `Alerts (${fleet.alert_count.toLocaleString()})`);
  fillList(byId("alerts"), fleet.alerts, { key: (alert) => `${alert.kind} ${alert.server_name}`, make: describeAlert });
  byId("alerts-more").hidden = more <= 0;
  setText(byId("alerts-more"), `and ${more.toLocaleString()} more: GET /alerts/active lists all`);
}

function describeAlert(alert) {
  return h("li", {},
    h("span", { class: `badge ${levelKind(alert.level)}` }, alert.level),
    alert.server_name === tables.fleet
      ? h("b", {}, "the whole fleet")
      : h("a", { href: addressOf(alert.server_name), "data-action": alert.server_name }, alert.server_name),
    h("span", { class: "muted" }, alert.message ?? ""));
}

// --- the map ---

const byteAt = (place, column) => {
  const row = order[place];
  const before = fleet.past.length;
  return column < before ? metric.pastBytes[row * before + column] : metric.futureBytes[row * fleet.future.length + column - before];
};

function showMap() {
  const canvas = byId("map");
  const width = canvas.parentElement.clientWidth;
  const height = Math.min(TALLEST_MAP, Math.max(ROW_OF_MAP, order.length * ROW_OF_MAP));
  const context = prepare(canvas, width, height);
  const columns = fleet.past.length + fleet.future.length;
  if (order.length > 0) {
    drawMap(context, { rows: order.length, columns, byteAt, width, height, gap: { after: fleet.past.length, pixels: GAP_PIXELS } });
  }
  canvas.setAttribute("aria-label",
    `${metricName(metric.name)} of ${order.length} servers over time; the list below has the same in numbers`);
  const share = fleet.past.length / columns;
  const ticks = [[0, dayTime(new Date(fleet.past[0] * 1000))], [share, "now"], [1, clockTime(new Date(fleet.future.at(-1) * 1000))]];
  fill(byId("map-axis"), ticks, () => ticks.map(([at, text]) => {
    const tick = h("span", {}, text);
    tick.style.left = `${at * 100}%`;
    return tick;
  }));
  setText(byId("legend-low"), `0 ${metric.unit}`);
  setText(byId("legend-high"), `${number(metric.scale)} ${metric.unit}`);
  const colours = palette();
  const legend = prepare(byId("legend"), 120, 8);
  for (let x = 0; x < 120; x++) {
    const at = Math.round((x / 119) * FULL) * 3;
    legend.fillStyle = `rgb(${colours[at]} ${colours[at + 1]} ${colours[at + 2]})`;
    legend.fillRect(x, 0, 1, 8);
  }
}

function cellAt(event) {
  const box = byId("map").getBoundingClientRect();
  const columns = fleet.past.length + fleet.future.length;
  const place = Math.floor(((event.clientY - box.top) / box.height) * order.length);
  const column = Math.min(columns - 1, Math.floor(((event.clientX - box.left) / box.width) * columns));
  return order[place] === undefined || column < 0 ? null : { place, column };
}

byId("map").addEventListener("pointermove", (event) => {
  const cell = cellAt(event);
  const tip = byId("map-tip");
  tip.hidden = !cell;
  if (!cell) return;
  const seconds = [...fleet.past, ...fleet.future][cell.column];
  const value = valueOf(byteAt(cell.place, cell.column), metric.scale);
  setText(tip, `${fleet.servers[order[cell.place]]} · ${clockTime(new Date(seconds * 1000))} · ${number(value)} ${metric.unit}${cell.column >= fleet.past.length ? " forecast" : ""}`);
  const box = byId("map").getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth)}px`;
  tip.style.top = `${event.clientY - box.top + 16}px`;
});
byId("map").addEventListener("pointerleave", () => { byId("map-tip").hidden = true; });
byId("map").addEventListener("click", (event) => {
  const cell = cellAt(event);
  if (cell) location.assign(addressOf(fleet.servers[order[cell.place]]));
});

const addressOf = (name) => urlOf(`/servers/${encodeURIComponent(name)}`);

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
  showMap();
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
    facts: (place) => [metric.name, place, fleet.risks[order[place]], fleet.metadata.prediction_time, fleet.metadata.model_version],
    make: describeRow,
  });
  for (const row of body.children) drawRow(row);
}

function describeRow(place) {
  const row = order[place];
  const name = fleet.servers[row];
  const risk = fleet.risks[row];
  const line = h("div", { role: "row", class: "row", "aria-rowindex": String(place + 2), "data-row": String(row) },
    h("span", { role: "rowheader" }, h("a", { href: addressOf(name), "data-action": name }, name)),
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
addEventListener("resize", () => fleet?.servers.length && soon(() => { showMap(); showRows(true); }));
document.addEventListener("theme", () => fleet?.servers.length && showAll());
byId("search").addEventListener("input", () => searchFor(byId("search").value));
byId("group").addEventListener("change", () => showGroups(fleet, searchFor));
byId("metric").addEventListener("change", () => { offerMetrics(); showAll(); });
follow("/view/fleet", () => FOLLOW_SECONDS, take);
