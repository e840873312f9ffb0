// One server: what each metric was, what is forecast, what was forecast before, and why.

import { follow, get } from "./api.js";
import { colour, draw, faint, localDate } from "./charts.js";
import { agentCommand } from "./commands.js";
import { byId, fill, fillList, h, setText } from "./dom.js";
import { clockTime, duration, metricName, number, time } from "./format.js";
import { levelKind } from "./levels.js";
import { listenToOrders, showStanding } from "./standing.js";
import { tables } from "./tables.js";

const FOLLOW_SECONDS = 5;
const SHOWN_FEATURES = 6;

const name = byId("server").dataset.name;
const address = encodeURIComponent(name);

let past = null;
let answer = null;

function show() {
  if (past) showStanding(past.standing, answer?.predictions[name] && (answer.predictions[name].model_version ?? answer.metadata.model_version));
  if (!past?.known || !answer) return;
  byId("problem").hidden = true;
  const entry = answer.predictions[name] ?? {};
  const forecast = past.metrics.filter((metric) => entry[metric.name]?.p50);
  const others = forecast.length === 0 ? [] : past.metrics.filter((metric) => !entry[metric.name]?.p50);
  showSummary(entry);
  showNumbers(forecast, entry);
  drawAll(byId("charts"), forecast.length === 0 ? past.metrics : forecast, entry); // what is measured shows from the first slot on
  byId("key").hidden = past.metrics.length === 0;
  byId("others-card").hidden = others.length === 0;
  if (byId("others-card").open) drawAll(byId("others"), others, entry);
}

function showSummary(entry) {
  const summary = byId("summary");
  delete summary.dataset.loading;
  fill(summary, [past.profile, past.last_slot, answer.metadata, answer.message, entry.alert, entry.risk_score], () => [
    entry.alert && h("span", { class: `badge ${levelKind(entry.alert.level)}` }, `${entry.alert.label ?? entry.alert.level} · risk ${number(entry.risk_score)}`),
    ` ${past.profile} · data until ${clockTime(new Date((past.last_slot + 1) * past.interval_seconds * 1000))}`,
    answer.message ? ` · ${answer.message}` : "",
  ].filter(Boolean));
}

function showNumbers(metrics, entry) {
  byId("numbers-card").hidden = metrics.length === 0;
  if (metrics.length === 0) return;
  const step = answer.metadata.interval_seconds;
  const steps = answer.metadata.horizon_steps;
  const within = tables.horizons.filter((seconds) => seconds / step <= steps);
  const ahead = (within.length > 0 ? within : [steps * step]).map((seconds) => [`in ${duration(seconds)}`, seconds]);
  fill(byId("numbers").tHead, ahead, () => h("tr", {},
    h("th", { scope: "col" }, "Metric"), h("th", { scope: "col", class: "number" }, "Now"),
    ahead.map(([label]) => h("th", { scope: "col", class: "number" }, label)),
    h("th", { scope: "col", class: "number" }, "Trend an hour")));
  fillList(byId("numbers").tBodies[0], metrics, {
    key: (metric) => metric.name,
    facts: (metric) => entry[metric.name],
    make: (metric) => {
      const { current, p10, p50, p90, trend } = entry[metric.name];
      return h("tr", {}, h("th", { scope: "row" }, metricName(metric.name)),
        h("td", { class: "number" }, `${number(current)} ${metric.unit}`),
        ahead.map(([, seconds]) => {
          const index = Math.min(steps, Math.max(1, Math.round(seconds / step))) - 1;
          return h("td", { class: "number" }, h("b", {}, number(p50[index])),
            h("span", { class: "muted" }, ` ${number(p10[index])} – ${number(p90[index])}`));
        }),
        h("td", { class: "number" }, `${trend > 0 ? "+" : ""}${number(trend)}`));
    },
  });
}

// --- charts ---

function drawAll(parent, metrics, entry) {
  const held = new Map([...parent.children].map((child) => [child.dataset.metric, child]));
  for (const metric of metrics) {
    let card = held.get(metric.name);
    held.delete(metric.name);
    if (!card) {
      card = h("figure", { class: parent.id === "charts" ? "card" : "", "data-metric": metric.name },
        h("figcaption", {}, h("b", {}, metricName(metric.name)), h("span", { class: "muted" }, ` ${metric.unit}`)),
        h("div", { class: "chart", role: "img" }));
      parent.append(card);
    }
    drawMetric(card.querySelector(".chart"), metric, entry[metric.name] ?? {});
  }
  for (const card of held.values()) card.remove();
}

function drawMetric(element, metric, forecast) {
  element.setAttribute("aria-label", tell(metric, forecast));
  const interval = past.interval_seconds;
  const at = (slot) => localDate(slot * interval);
  const slots = metric.values.map((_, index) => past.first_slot + index);
  const traces = [];
  for (const before of past.before) {
    const said = before.metrics[metric.name];
    if (!said) continue;
    traces.push(line(said.p50.map((_, k) => at(before.origin_slot + 1 + k)), said.p50, {
      color: colour("accent"), width: 1.4, dash: "dot" }, `said ${clockTime(new Date((before.origin_slot + 1) * interval * 1000))}`));
  }
  traces.push(line(slots.map(at), metric.values, { color: colour("text"), width: 1.6 }, "measured"));
  if (forecast.p50) {
    const begin = Date.parse(answer.metadata.horizon_start) / 1000;
    const ahead = forecast.p50.map((_, k) => localDate(begin + k * answer.metadata.interval_seconds));
    traces.push(
      { ...line(ahead, forecast.p90, { width: 0 }, "p90"), legendrank: 1 },
      { ...line(ahead, forecast.p10, { width: 0 }, "p10"), fill: "tonexty", fillcolor: faint(colour("accent"), 0.22) },
      line(ahead, forecast.p50, { color: colour("accent"), width: 2 }, "p50"));
  }
  const now = at(past.last_slot + 1);
  const percent = metric.unit === "%";
  const highest = Math.max(...metric.values.filter((value) => value !== null), ...(forecast.p90 ?? [0]), percent ? 16 : 0);
  const top = percent ? Math.min(100, highest * 1.25) : highest * 1.15;
  draw(element, traces, {
    shapes: [{ type: "line", x0: now, x1: now, yref: "paper", y0: 0, y1: 1, line: { color: colour("muted"), width: 1, dash: "dash" } },
      ...thresholds(metric.name, top)],
    yaxis: { range: [0, top], ticksuffix: percent ? " %" : "" },
  });
}

function line(x, y, style, label) {
  return { type: "scatter", mode: "lines", x, y, line: style, name: label, hovertemplate: "%{y:.1f}", connectgaps: false };
}

/** Where a server becomes degraded, in warning, critical, as far as that is in sight; names that would collide are left. */
function thresholds(metric, top) {
  const limits = Object.entries(past.thresholds[metric] ?? {}).filter(([, value]) => value <= top);
  let named = -Infinity;
  return limits.sort(([, a], [, b]) => a - b).map(([level, value]) => {
    const free = value - named > top * 0.12 && value < top * 0.94;
    if (free) named = value;
    return {
      type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value,
      line: { color: colour(levelKind(level)), width: 1.2, dash: "dot" },
      ...(free ? { label: { text: level, textposition: "start", yanchor: "bottom", font: { size: 10, color: colour(levelKind(level)) }, padding: 2 } } : {}),
    };
  });
}

function tell(metric, forecast) {
  const known = metric.values.filter((value) => value !== null);
  const unit = metric.unit;
  const words = [`${metricName(metric.name)}: ${number(known.at(-1))} ${unit} now`];
  if (forecast.p50) words.push(`${number(forecast.p50.at(-1))} ${unit} at the end of the forecast, from ${number(forecast.p10.at(-1))} to ${number(forecast.p90.at(-1))}`);
  return words.join(", ");
}

// --- why ---

async function showExplanation() {
  let body;
  try {
    body = JSON.parse(await get(`/explain/${address}`));
  } catch {
    return; // the daemon is away or has too much to explain just now: the next forecast is explained again
  }
  const known = body.shap?.top_features?.length > 0;
  byId("explanation-card").hidden = !known && !body.message;
  fill(byId("explanation"), { ...body, timestamp: null }, () => known ? describeExplanation(body)
    : h("p", { class: "muted" }, body.message));
  if (known) drawAttention(body.attention);
}

function describeExplanation(body) {
  const said = body.prediction;
  const points = (value) => `${value > 0 ? "+" : "−"}${number(Math.abs(value))} ${said.unit}`;
  return [
    h("p", { class: "lead" }, `${metricName(said.target)} is forecast at `, h("b", {}, `${number(said.p50)} ${said.unit}`), " for ", time(said.at),
      `: ${points(body.shap.difference)} beside the ${number(said.baseline)} ${said.unit} that the model would say without knowing this server's past.`),
    Object.keys(body.members ?? {}).length > 1 && h("p", { class: "muted" },
      `The forecast is a blend: ${describeMembers(body.members)}. What is read and where it looks are the network's alone.`),
    h("div", { class: "why" },
      h("div", {}, h("h3", {}, "What makes the difference"),
        h("ol", { class: "bars" }, body.shap.top_features.slice(0, SHOWN_FEATURES).map((feature) => bar(
          metricName(feature.feature), feature.importance, points(feature.contribution), `${feature.stars} of 5 stars`)))),
      h("div", {}, h("h3", {}, "What the network chose to read"),
        h("ol", { class: "bars" }, Object.entries(body.variable_selection?.encoder ?? {}).slice(0, SHOWN_FEATURES)
          .map(([metric, share]) => bar(metricName(metric), share, `${Math.round(share * 100)} %`, "share of the encoder's attention to variables"))))),
    h("h3", {}, "Where it looks in the past"),
    h("p", { class: "muted" }, body.attention.analysis),
    h("div", { class: "chart short", id: "attention", role: "img", "aria-label": body.attention.analysis }),
    h("h3", {}, "What would change the risk"),
    body.counterfactuals.length === 0 ? h("p", { class: "muted" }, "No change that was tried lowers it.")
      : h("ul", { class: "changes" }, body.counterfactuals.map((change) => h("li", {},
        h("b", {}, change.scenario), h("span", { class: "badge info" }, change.impact), h("span", { class: "muted" }, change.recommendation)))),
  ];
}

const describeMembers = (members) =>
  Object.entries(members).map(([member, weight]) => `${member} ${Math.round(weight * 100)} %`).join(", ");

function bar(label, share, text, title) {
  const fillOf = h("span", { class: "fill" });
  fillOf.style.width = `${Math.max(1, Math.abs(share) * 100)}%`;
  return h("li", { title }, h("span", {}, label), h("span", { class: "track", "aria-hidden": "true" }, fillOf), h("span", { class: "number" }, text));
}

function drawAttention(attention) {
  const [from, until] = [Date.parse(attention.from) / 1000, Date.parse(attention.until) / 1000];
  const step = (until - from) / attention.weights.length;
  const x = attention.weights.map((_, index) => localDate(from + index * step));
  draw(byId("attention"), [{
    ...line(x, attention.weights.map((weight) => weight * 100), { color: colour("accent"), width: 1.5, shape: "hv" }, "attention"),
    fill: "tozeroy", fillcolor: faint(colour("accent"), 0.18), hovertemplate: "%{y:.2f} %",
  }], { height: 140, yaxis: { rangemode: "tozero", ticksuffix: " %", nticks: 4 } });
}

// --- what is followed ---

function tellMissing() {
  delete byId("summary").dataset.loading;
  setText(byId("summary"), "");
  byId("problem").hidden = false;
  const command = agentCommand(location.origin, name);
  fill(byId("problem"), Boolean(past.standing), () => h("div", { class: "card steps" },
    h("p", { class: "big" }, past.standing ? "Nothing is left of what it sent" : "Nothing is known of this server"),
    command === null
      ? h("p", { class: "muted" }, "Its name has characters that cannot be seen: look where the link to this page came from.")
      : [h("p", { class: "muted" }, "A server appears by itself as soon as it sends data. From that host:"),
        h("pre", {}, h("code", {}, command))]));
}

let followed = false;

function followForecast() {
  if (followed) return;
  followed = true;
  follow(`/predictions/${address}`, () => FOLLOW_SECONDS, (body) => {
    answer = body;
    show();
    showExplanation();
  });
}

const askPast = follow(`/view/servers/${address}`, () => FOLLOW_SECONDS, (body) => {
  past = body;
  if (body.known) followForecast();
  else tellMissing();
  show();
});
listenToOrders(name, askPast);
byId("others-card").addEventListener("toggle", show);
document.addEventListener("theme", show);
