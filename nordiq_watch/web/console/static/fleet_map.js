// The map of the Fleet page: a line for each server of the list, its time from left to right.

import { serverPage } from "./api.js";
import { byId, fill, h, setText } from "./dom.js";
import { clockTime, dayTime, metricName, number } from "./format.js";
import { FULL, drawMap, palette, prepare, valueOf } from "./heat.js";

const TALLEST_MAP = 300;
const ROW_OF_MAP = 18;
const GAP_PIXELS = 3;

let fleet = null;
let metric = null;
let order = [];

const byteAt = (place, column) => {
  const row = order[place];
  const before = fleet.past.length;
  return column < before ? metric.pastBytes[row * before + column] : metric.futureBytes[row * fleet.future.length + column - before];
};

/** shown: the fleet's view, the metric that is drawn, and the servers' rows in the order of the list. */
export function showMap(shown) {
  ({ fleet, metric, order } = shown);
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
  if (cell) location.assign(serverPage(fleet.servers[order[cell.place]]));
});
