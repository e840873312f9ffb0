// The list's servers by profile or by a label: how many there are, and how badly the worst one stands.

import { byId, fill, fillList, h } from "./dom.js";
import { number } from "./format.js";
import { levelKind } from "./levels.js";

const BY_PROFILE = "profile";
const LABEL = "label:";
const MOST_GROUPS = 60;

/** The labels of a server as they are searched for: name:value. */
export function labelsText(fleet, row) {
  return Object.entries(fleet.label_sets[fleet.label_codes[row]]).map(([name, value]) => `${name}:${value}`).join(" ");
}

/** Offers what this fleet can be grouped by. */
export function offerGroups(fleet) {
  const names = [...new Set(fleet.label_sets.flatMap((labels) => Object.keys(labels)))].sort();
  const select = byId("group");
  const chosen = select.value;
  const offered = [["", "not grouped"], [BY_PROFILE, "by profile"], ...names.map((name) => [LABEL + name, `by ${name}`])];
  fill(select, names, () => offered.map(([value, text]) => h("option", { value }, text)));
  select.value = offered.some(([value]) => value === chosen) ? chosen : "";
}

/** search: called with what finds the servers of a group. */
export function showGroups(fleet, search) {
  const by = byId("group").value;
  const groups = by ? groupsOf(fleet, by).slice(0, MOST_GROUPS) : [];
  byId("groups").hidden = groups.length === 0;
  fillList(byId("groups"), groups, { key: (group) => JSON.stringify(group.value), make: (group) => describeGroup(group, search) });
}

function groupsOf(fleet, by) {
  const groups = new Map();
  for (const [row, profile] of fleet.profiles.entries()) {
    const name = by.slice(LABEL.length);
    const value = by === BY_PROFILE ? profile : fleet.label_sets[fleet.label_codes[row]][name] ?? null;
    const group = groups.get(value) ?? { value, by, servers: 0, risk: null, level: null };
    group.servers += 1;
    if (fleet.risks[row] !== null && fleet.risks[row] > (group.risk ?? -1)) {
      [group.risk, group.level] = [fleet.risks[row], fleet.levels[row]];
    }
    groups.set(value, group);
  }
  return [...groups.values()].sort((a, b) => (b.risk ?? -1) - (a.risk ?? -1) || b.servers - a.servers);
}

function describeGroup({ value, by, servers, risk, level }, search) {
  const content = [
    h("b", {}, value ?? "without"), ` ${servers.toLocaleString()} `,
    risk !== null && h("span", { class: `badge ${levelKind(level)}` }, number(risk)),
  ];
  if (value === null) return h("li", {}, h("span", { class: "chip" }, ...content));
  const words = by === BY_PROFILE ? value : `${by.slice(LABEL.length)}:${value}`;
  return h("li", {}, h("button", { type: "button", class: "chip", "data-action": words, onclick: () => search(words) }, ...content));
}
