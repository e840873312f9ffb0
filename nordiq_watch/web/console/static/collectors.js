// The System page's list of senders: how much comes from each, what no rule knows, what was dropped and why, how late.

import { follow } from "./api.js";
import { byId, fill, fillList, h } from "./dom.js";
import { duration, time } from "./format.js";

const FOLLOW_SECONDS = 5;
const SHOWN = 50;
const SHOWN_NAMES = 5;
const LATE_SECONDS = 300;
const UNKNOWN = "unknown_series";
const CLIPPED = "clipped";
const DUPLICATE = "duplicate";
const RELABELLED = "relabelled";

/** Reasons whose words say more than their names with blanks. */
const WORDS = {
  too_old: "older than the window",
  too_new: "ahead of this machine's clock",
  slot_closed: "after their slot was closed",
  overlap: "deltas that begin within others",
  gap: "deltas without the one before them",
  too_sparse: "counters whose samples lie too far apart for a rate",
  first: "a sender's first deltas, from which no rate follows",
  no_server_name: "without a server's name",
  loopback: "named as every machine calls itself",
  relabelled: "left out by feeders.relabel",
  bad_name: "names that no server can have",
  not_a_number: "not a number",
  out_of_range: "more or less than the metric can be",
  nothing_measured: "no metric in them",
  too_many_labels: "too many labels",
  unsupported: "kinds that become no metric",
  duplicate: "the same from a replica",
  no_room: "no room for more",
  unreadable: "whole bodies in another format",
  too_large: "whole bodies too large",
  internal: "whole bodies at which the daemon failed",
  not_repeated: "whole batches that could not be kept, of a sender that repeats nothing",
  doubled: "one host under two values of a label: what is a sum is there twice",
  clipped: "kept as the most or the least there can be",
};
/** What is as it should be, or as the config wants it. */
const CALM = new Set([CLIPPED, DUPLICATE, RELABELLED]);

function show({ sources, forgotten }) {
  const rows = sources.slice(0, SHOWN);
  byId("collectors").hidden = rows.length === 0;
  fill(byId("collectors-words"), { rows: rows.length, all: sources.length, forgotten }, () => [describeAll(sources.length, forgotten)]);
  fillList(byId("collectors").tBodies[0], rows, { key: nameOf, make: describe });
}

function describeAll(count, forgotten) {
  if (count === 0) return "Nothing has fed this daemon since its start.";
  const rest = count - SHOWN + forgotten;
  return rest > 0 ? `Those heard last; ${rest.toLocaleString()} more are not shown.` : "Since the start of the daemon, the one heard last first.";
}

const nameOf = (source) => JSON.stringify([source.format, source.key, source.address, source.user_agent]);

function describe(source) {
  const unknown = source.dropped.find(({ reason }) => reason === UNKNOWN)?.count ?? 0;
  return h("tr", {},
    h("th", { scope: "row" }, h("span", { class: "name" }, `${source.format} · ${source.address || "unknown"}`),
      h("span", { class: "muted" }, [source.user_agent, source.key && `key ${source.key}`].filter(Boolean).join(" · "))),
    h("td", { "data-label": "Last heard" }, time(source.last_heard)),
    h("td", { "data-label": "Comes" }, h("div", {}, `${Math.round(source.received_per_minute).toLocaleString()} ${source.unit} a minute`,
      h("div", { class: "muted" }, `samples taken: ${source.taken.toLocaleString()}`),
      source.postponed > 0 && h("div", { class: "muted" }, `batches to be repeated: ${source.postponed.toLocaleString()}`))),
    h("td", { "data-label": "No rule knows" }, describeUnknown(source, unknown)),
    h("td", { "data-label": "Dropped" }, describeDropped(source.dropped.filter(({ reason }) => reason !== UNKNOWN))),
    h("td", { "data-label": "How late" }, source.late_seconds === null ? "–"
      : h("span", { class: source.late_seconds > LATE_SECONDS ? "reason" : null }, duration(source.late_seconds))));
}

function describeUnknown(source, unknown) {
  if (unknown === 0) return "–";
  const names = source.unknown_names.slice(0, SHOWN_NAMES);
  const more = source.unknown_names.length > names.length ? " …" : "";
  const examples = h("div", { class: "muted names" }, names.join(", ") + more);
  if (unknown < source.received) return h("div", {}, `${unknown.toLocaleString()} ${source.unit}`, examples);
  return h("div", {}, h("span", { class: "reason" }, `none of ${unknown.toLocaleString()} ${source.unit} is known`), examples);
}

function describeDropped(dropped) {
  if (dropped.length === 0) return "–";
  return h("ul", { class: "plain" }, dropped.map(({ reason, count, example }) =>
    h("li", { class: CALM.has(reason) ? "muted" : null, title: example || null },
      `${count.toLocaleString()}: ${WORDS[reason] ?? reason.replaceAll("_", " ")}`)));
}

follow("/feed/sources", () => FOLLOW_SECONDS, show);
