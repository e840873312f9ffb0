// Two lists of the Fleet page: what is wrong, and of which servers nothing is told meanwhile.

import { serverPage } from "./api.js";
import { byId, fillList, h, setText } from "./dom.js";
import { describeMaintenance } from "./format.js";
import { levelKind } from "./levels.js";
import { tables } from "./tables.js";

/** fleet: its view. */
export function showAlerts(fleet) {
  byId("alerts-card").hidden = !fleet.alerts.length;
  if (!fleet.alerts.length) return;
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
      : h("a", { href: serverPage(alert.server_name), "data-action": alert.server_name }, alert.server_name),
    h("span", { class: "muted" }, alert.message ?? ""));
}

/** maintenance: of every server that is in it, forecast or not. */
export function showMaintenance(maintenance) {
  const entries = Object.entries(maintenance);
  byId("maintenance-card").hidden = entries.length === 0;
  setText(byId("maintenance-heading"), `In maintenance (${entries.length.toLocaleString()})`);
  fillList(byId("maintenance"), entries, {
    key: ([name]) => name,
    make: ([name, one]) => h("li", {},
      h("span", { class: "badge info" }, "no alert"),
      h("a", { href: serverPage(name), "data-action": name }, name),
      h("span", { class: "muted" }, ...describeMaintenance(one))),
  });
}
