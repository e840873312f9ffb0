// How one server stands, and the orders about it: maintenance, and its removal. The form is there for admins alone.

import { post, Refused, remove, urlOf } from "./api.js";
import { localDate } from "./charts.js";
import { byId, fill, h, setText } from "./dom.js";
import { builtIn, describeMaintenance, shortName, time } from "./format.js";
import { confirmed } from "./shell.js";

const OFFERED_SECONDS = 3600;
const MINUTE_DIGITS = 16; // of 2025-01-31T14:35
const STATES = {
  live: ["ok", "it sends"],
  silent: ["warn", "it sends nothing, and is missed"],
  ended: ["", "it sends nothing, and is not missed any more"],
  maintenance: ["info", "no alert of it is raised"],
};

/** `standing` as `GET /servers` tells it, null for a server that nothing is known of; who its newest forecast is by. */
export function showStanding(standing, version) {
  byId("standing-card").hidden = standing === null;
  if (standing === null) return;
  const { state, last_seen: seen, labels, maintenance } = standing;
  fill(byId("standing"), [state, seen, labels, maintenance, version], () => {
    const [kind, words] = STATES[state] ?? ["", ""];
    return [
      fact("State", h("span", { class: `badge ${kind}` }, state), h("span", { class: "muted" }, ` ${words}`)),
      maintenance && fact("Maintenance", ...describeMaintenance(maintenance)),
      fact("Last heard", seen ? time(seen) : "not in the window"),
      fact("Labels", describeLabels(labels)),
      fact("Answered by", version ? describeVersion(version) : h("span", { class: "muted" }, "no forecast yet")),
    ].filter(Boolean);
  });
  const ordered = maintenance?.by === "order";
  if (!byId("orders")) return;
  byId("end").hidden = !ordered;
  setText(byId("begin"), ordered ? "Change" : "Begin maintenance");
}

const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));

const describeVersion = (version) => builtIn(version) ? `the ${builtIn(version)}`
  : h("span", { title: version }, "version ", h("a", { href: urlOf("/models") }, shortName(version)));

function describeLabels(labels) {
  const pairs = Object.entries(labels).sort();
  if (pairs.length === 0) return h("span", { class: "muted" }, "none");
  return h("ul", { class: "labels" }, pairs.map(([label, value]) => h("li", { class: "badge" }, `${label}: ${value}`)));
}

/** Carries out what the form says about the server, then calls `ask`, which shows how it stands now. */
export function listenToOrders(name, ask) {
  if (!byId("orders")) return;
  const path = `/servers/${encodeURIComponent(name)}`;
  byId("until").value = localDate(Date.now() / 1000 + OFFERED_SECONDS).slice(0, MINUTE_DIGITS);

  async function order(send, tell) {
    const outcome = byId("outcome");
    outcome.className = "muted";
    try {
      setText(outcome, tell(await send()));
      await ask(); // may have been asked before the order
      ask();
    } catch (error) {
      setText(outcome, error instanceof Refused ? error.message : "The daemon does not answer.");
      outcome.className = "reason";
    }
  }

  byId("orders").addEventListener("submit", (event) => {
    event.preventDefault();
    const until = new Date(byId("until").value); // of this machine's zone
    if (Number.isNaN(until.getTime())) return;
    const body = { until: until.toISOString(), reason: byId("reason").value.trim() };
    order(() => post(`${path}/maintenance`, body), () => "It is in maintenance: its alerts have ended, and none is raised.");
  });

  byId("end").addEventListener("click", () => {
    order(() => remove(`${path}/maintenance`), ({ maintenance }) => maintenance === null
      ? "Its maintenance has ended: what is wrong with it is an alert again."
      : "The order has ended; its own records say that it is in maintenance.");
  });

  byId("remove").addEventListener("click", async () => {
    const yes = await confirmed({
      title: `Remove ${name}?`, yes: "Remove",
      text: "What it sent, its alerts, its history and its labels are forgotten at once, and cannot be brought back. If it sends again, it is a new server.",
    });
    if (yes) order(() => remove(path), tellRemoval);
  });
}

function tellRemoval({ pending }) {
  if (pending.length > 0) return `It is removed, but ${pending.join(" and ")} did not answer yet: order it again when the daemon's disk works.`;
  location.assign(urlOf("/"));
  return "It is removed.";
}
