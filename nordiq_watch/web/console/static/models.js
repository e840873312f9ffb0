// The Models page: what is live, every version, orders to the reload worker, and a reload's way live.

import { follow, post, Refused } from "./api.js";
import { byId, fill, fillList, h, setText } from "./dom.js";
import { duration, megabytes, metricName, number, shortName, time, unitOf } from "./format.js";
import { confirmed } from "./shell.js";
import { tables } from "./tables.js";

const SHOWN_ERRORS = 2;
const CALM_SECONDS = 1;
const BUSY_SECONDS = 0.15;
const BUSY_FOR_MILLISECONDS = 5000;

const TRIGGERS = {
  watcher: "dropped", api: "asked for", startup: "at the start", rollback: "rolled back", signal: "after SIGHUP",
};
const OUTCOMES = {
  loaded: "went live", unchanged: "was live already", rejected: "refused", not_found: "not found", unpinned: "unpinned",
};

let models = null;
let info = null;
let reloads = [];
let busyUntil = 0;

const mayAct = byId("orders") !== null;
const isBusy = () => Date.now() < busyUntil || reloads.some((reload) => reload.state !== "finished");

// --- live now ---

function showLive() {
  if (!info) return;
  fill(byId("live"), [info, models?.models.find((model) => model.is_current)], () => info.loaded ? describeLive() : describeNone());
  if (!mayAct) return;
  const pinned = Boolean(info.pinned);
  document.querySelector('[data-order="unpin"]').hidden = !pinned;
  document.querySelector('[data-order="rollback"]').disabled = !info.loaded;
}

function describeNone() {
  return [h("p", { class: "big" }, "No model yet"), describeFirstSteps()];
}

function describeFirstSteps() {
  return h("div", { class: "steps" },
    h("p", {}, "Train one on your data; it goes live by itself as soon as it is dropped:"),
    h("pre", {}, h("code", {}, "nordiq-watch train --dataset data/ --max-minutes 15")));
}

function describeLive() {
  const config = info.config;
  const training = models?.models.find((model) => model.is_current)?.training;
  const span = (steps) => duration(steps * config.interval_seconds);
  return [
    h("p", { class: "big" }, shortName(info.model_name),
      info.pinned && h("span", { class: "badge warn" }, "pinned")),
    h("dl", { class: "facts" },
      fact("Generation", String(info.generation)),
      fact("Forecasts", `${config.targets.map(metricName).join(", ")}; ${span(config.max_prediction_length)} ahead`),
      info.members?.length > 1 && fact("Blend of", info.members.join(", ")),
      fact("Reads", `${span(config.max_encoder_length)} of ${config.metrics.length} metrics`),
      fact("Servers", `${info.servers.known} of ${info.servers.total} known from training`),
      saysEpochs(training) && fact("Training", describeTraining(training)),
      training?.comparison && fact("Error in validation", describeComparison(training.comparison)),
      fact("SHA-256", h("code", { title: info.sha256 }, info.sha256.slice(0, 12)))),
    info.pinned && h("p", { class: "muted" }, "Newer versions wait until it is unpinned."),
  ].filter(Boolean);
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

/** A training that its minutes ended within the first epoch says 0. */
const saysEpochs = (training) => Number.isInteger(training?.epochs);

function describeTraining(training) {
  const parts = [training.epochs === 1 ? "1 epoch" : `${training.epochs} epochs`];
  if (training.training_time) parts.push(`in ${duration(training.training_time)}`);
  if (training.servers_trained) parts.push(`on ${training.servers_trained} servers`);
  return parts.join(" ");
}

// --- the latest reload, stage by stage ---

function showProgress() {
  const latest = reloads[0];
  fill(byId("progress"), latest ?? null, () => latest ? describeProgress(latest) : h("p", { class: "muted" }, "None yet."));
  if (latest?.state === "finished") setText(byId("outcome"), tellOutcome(latest));
  else if (latest) setText(byId("outcome"), `Reload ${latest.id} is under way`);
}

function describeProgress(reload) {
  const passed = new Map(reload.stages.map((stage) => [stage.name, stage.seconds]));
  const running = reload.state !== "finished";
  const failed = !running && !tables.outcomes[reload.outcome];
  const stages = stagesOf(reload, passed, running || failed);
  const reached = Math.max(-1, ...stages.map((name, index) => (passed.has(name) ? index : -1)));
  return [
    h("p", { class: "headline" },
      h("span", { class: `badge ${running ? "info" : failed ? "bad" : "ok"}` }, running ? "under way" : OUTCOMES[reload.outcome] ?? reload.outcome),
      " ", h("b", {}, shortName(reload.version || reload.requested || "the latest version")),
      h("span", { class: "muted" }, ` · ${TRIGGERS[reload.trigger] ?? reload.trigger}, `, time(reload.created_at))),
    h("ol", { class: "stages" }, stages.map((name, index) => {
      const state = passed.has(name) ? "done"
        : index === reached + 1 && running ? "now"
        : index === reached + 1 && failed && passed.size ? "failed" : "open";
      return h("li", { "data-state": state },
        h("span", { class: "name" }, name),
        h("span", { class: "seconds" }, passed.has(name) ? duration(passed.get(name)) : state === "failed" ? "stopped" : " "));
    })),
    reload.reason && h("p", { class: failed ? "reason" : "muted" }, reload.reason),
    failed && h("p", { class: "muted" }, reload.current_model
      ? `${shortName(reload.current_model)} goes on answering.` : "No model is live."),
  ].filter(Boolean);
}

/** Those that it passed; while it is on its way, or was stopped, also those that lie ahead. */
function stagesOf(reload, passed, open) {
  if (!open) return tables.stages.filter((name) => passed.has(name));
  return tables.stages_ahead[reload.trigger];
}

function tellOutcome(reload) {
  const what = shortName(reload.version || reload.requested || "The latest version");
  return `${what}: ${OUTCOMES[reload.outcome] ?? reload.outcome}${reload.reason ? ` (${reload.reason})` : ""}`;
}

// --- versions ---

const STATES = {
  live: "ok", previous: "info", available: "", incomplete: "warn", rejected: "bad", quarantined: "warn",
};

function showVersions() {
  if (!models) return;
  const none = models.count === 0;
  byId("versions").hidden = none;
  byId("versions-empty").hidden = !none;
  fill(byId("versions-empty"), none, () => [
    h("p", {}, `There is no version in ${models.models_dir}/ yet.`), describeFirstSteps()]);
  fillList(byId("versions").tBodies[0], models.models, { key: (model) => model.name, make: describeVersion });
}

function describeVersion(model) {
  const training = model.training;
  return h("tr", { class: model.is_current ? "current" : null },
    h("th", { scope: "row" }, h("span", { class: "name", title: model.name }, shortName(model.name)),
      h("span", { class: "muted" }, "written ", time(model.modified))),
    h("td", { "data-label": "State" }, h("div", {}, h("span", { class: `badge ${STATES[model.state] ?? ""}` }, model.state),
      model.reason && h("p", { class: "reason" }, model.reason))),
    h("td", { "data-label": "Trained" }, saysEpochs(training) ? describeTraining(training) : h("span", { class: "muted" }, "not said")),
    h("td", { "data-label": "Error in validation" }, describeValidation(training.validation), describeComparison(training.comparison)),
    h("td", { "data-label": "Error live" }, describeAccuracy(model.accuracy)),
    h("td", { "data-label": "Size", class: "number" }, megabytes(model.size_mb)),
    h("td", { class: "actions" }, model.is_current || !mayAct ? null
      : h("button", {
        type: "button", "data-action": `load ${model.name}`, "data-name": model.name,
        "aria-label": `Load ${shortName(model.name)}`, disabled: model.state === "incomplete",
      }, "Load")));
}

/** Mean absolute errors while training, beside those of "it stays as it is". */
function describeValidation(validation) {
  const scores = Object.entries(validation?.metrics ?? {})
    .map(([metric, { model, last_value: last }]) => ({ metric, mae: model?.mae, last: last?.mae }));
  return describeErrors(scores, "not said");
}

/** The errors of all metrics relative to last value's and to the newest version's of that time. */
function describeComparison(comparison) {
  if (!comparison) return null;
  const beside = [[comparison.beside_last_value, "last value"], [comparison.beside_newest, comparison.newest && shortName(comparison.newest)]];
  const parts = beside.filter(([ratio]) => ratio !== null).map(([ratio, name]) => `${percentage(ratio)} beside ${name}`);
  if (!comparison.passed) parts.push("dropped anyway");
  return parts.length === 0 ? null : h("p", { class: comparison.passed ? "muted" : "reason", title: "mean absolute error, all metrics" }, parts.join(", "));
}

const percentage = (ratio) => `${ratio < 1 ? "−" : "+"}${Math.abs((ratio - 1) * 100).toFixed(0)} %`;

/** The same for forecasts that came due, at the shortest horizon; and the share of measurements between p10 and p90. */
function describeAccuracy(accuracy) {
  const scores = Object.entries(accuracy ?? {}).map(([metric, horizons]) => {
    const [horizon, score] = Object.entries(horizons)[0];
    return { metric, horizon, mae: score.mae, last: score.last_value?.mae, builtin: score.baseline?.mae, coverage: score.coverage };
  });
  return describeErrors(scores, "nothing came due yet");
}

function describeErrors(scores, none) {
  const known = scores.filter(({ mae }) => mae !== null && mae !== undefined);
  if (known.length === 0) return h("span", { class: "muted" }, none);
  return h("ul", { class: "plain" }, known.slice(0, SHOWN_ERRORS).map(({ metric, horizon, mae, last, builtin, coverage }) => {
    const gain = last ? (mae / last - 1) * 100 : null;
    const covered = coverage === undefined ? "" : `; ${Math.round(coverage * 100)} % between p10 and p90, ${Math.round(tables.expected_coverage * 100)} % is right`;
    return h("li", { title: `mean absolute error${horizon ? ` ${horizon} ahead` : ""}${covered}` },
      `${metricName(metric)} ±${number(mae)} ${unitOf(metric)}`,
      gain !== null && h("span", { class: gain < 0 ? "better" : "worse", title: "beside the last value, held" },
        ` ${percentage(mae / last)}`),
      builtin && h("span", { class: mae < builtin ? "better" : "worse", title: "beside the built-in forecast: whether the network is worth it" },
        ` (${percentage(mae / builtin)} beside the built-in)`));
  }), known.length > SHOWN_ERRORS && h("li", { class: "muted" }, `and ${known.length - SHOWN_ERRORS} more`));
}

// --- reloads ---

function showTimeline() {
  byId("timeline-empty").hidden = reloads.length > 0;
  fillList(byId("timeline"), reloads, { key: (reload) => reload.id, make: describeReload });
}

function describeReload(reload) {
  const running = reload.state !== "finished";
  const kind = running ? "info" : tables.outcomes[reload.outcome] ? "ok" : "bad";
  return h("li", { "data-kind": kind },
    h("span", { class: "when" }, time(reload.created_at)),
    h("span", { class: "what" }, h("b", {}, shortName(reload.version || reload.requested || "latest")), " ",
      running ? "is under way" : OUTCOMES[reload.outcome] ?? reload.outcome,
      reload.reason && h("span", { class: kind === "bad" ? "reason" : "muted" }, reload.reason)),
    h("span", { class: "muted how" }, TRIGGERS[reload.trigger] ?? reload.trigger,
      reload.seconds !== null && ` · ${duration(reload.seconds)}`));
}

// --- orders ---

const ORDERS = {
  latest: () => ({
    title: "Reload the latest version?", yes: "Reload latest", path: "/admin/reload-model?wait=false",
    text: "The newest version is checked and goes live if it is sound; the present one answers until then. This ends a pin.",
  }),
  rollback: () => ({
    title: "Roll back?", yes: "Roll back", path: "/admin/rollback?wait=false",
    text: `The version that was live before answers again. ${shortName(info.model_name)} is set aside and not loaded again by itself; newer drops still go live.`,
  }),
  unpin: () => ({
    title: "Unpin?", yes: "Unpin", path: "/admin/unpin?wait=false",
    text: "The newest version goes live by itself again, at once if one is waiting.",
  }),
  load: (name) => ({
    title: `Load ${shortName(name)}?`, yes: "Load and pin",
    path: `/admin/reload-model?wait=false&model_path=${encodeURIComponent(name)}`,
    text: "It is checked and goes live if it is sound. It is then pinned: newer drops wait until you unpin it.",
  }),
};

async function order(question) {
  if (!(await confirmed(question))) return;
  busyUntil = Date.now() + BUSY_FOR_MILLISECONDS;
  try {
    await post(question.path);
    askReloads();
  } catch (error) {
    setText(byId("outcome"), error instanceof Refused ? error.message : "The daemon does not answer.");
    byId("outcome").className = "reason";
  }
}

byId("orders")?.addEventListener("click", (event) => {
  const name = event.target.dataset.order;
  if (name) order(ORDERS[name]());
});
byId("versions").addEventListener("click", (event) => {
  const name = event.target.closest("button")?.dataset.name;
  if (name) order(ORDERS.load(name));
});

// --- what is followed ---

const askInfo = follow("/admin/model-info", () => 2 * CALM_SECONDS, (body) => { info = body; showLive(); });
const askModels = follow("/admin/models", () => 2 * CALM_SECONDS, (body) => { models = body; showVersions(); showLive(); });
const askReloads = follow("/admin/reloads?limit=30", () => (isBusy() ? BUSY_SECONDS : CALM_SECONDS), (body) => {
  reloads = body.reloads;
  showProgress();
  showTimeline();
  askModels();
  askInfo();
});
