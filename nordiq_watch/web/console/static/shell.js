// What all pages share: the live model in the bar, notices, colours, the question before an order.

import { connection, follow, post, urlOf } from "./api.js";
import { byId, fillList, h, setText } from "./dom.js";
import { ago, clockTime, shortName, zone } from "./format.js";

const STATUS_SECONDS = 2;
const LATE_INTERVALS = 3;
const intervalSeconds = Number(document.body.dataset.interval);

let status = null;
let awaySince = null;

function notices() {
  if (awaySince) {
    return [{
      kind: "bad",
      text: `The daemon does not answer since ${clockTime(awaySince)}. What you see is from before; trying again …`,
    }];
  }
  if (!status) return [];
  if (!status.model_loaded) {
    const text = status.last_prediction
      ? "No model is live yet: alerts follow what is measured, and a simple built-in forecast answers."
      : "No model is live yet, so nothing is forecast.";
    return [{ kind: "warn", text, link: "/models", label: "What to do first" }];
  }
  const found = [];
  if (!status.warmup.is_warmed_up) {
    found.push({ kind: "info", text: status.warmup.message, progress: status.warmup.progress_percent });
  } else if (status.stale) {
    found.push({ kind: "warn", text: "The forecast is stale: it was not made from the newest data by the live model.", link: "/system", label: "See why" });
  }
  const age = status.last_prediction && (Date.now() - Date.parse(status.last_prediction)) / 1000;
  if (status.warmup.is_warmed_up && age > LATE_INTERVALS * intervalSeconds) {
    found.push({ kind: "warn", text: `No new data: the newest forecast is from ${ago(status.last_prediction)}.`, link: "/system", label: "Feed" });
  }
  return found;
}

function showNotices() {
  fillList(byId("notices"), notices(), {
    key: (notice) => notice.kind + notice.text.slice(0, 20),
    make: (notice) => h("p", { class: `notice ${notice.kind}` }, notice.text,
      notice.progress !== undefined && h("progress", { max: 100, value: notice.progress, "aria-label": "warm-up" }),
      notice.link && urlOf(notice.link) !== location.pathname && h("a", { href: urlOf(notice.link) }, notice.label)),
  });
}

function showChip() {
  const chip = byId("live-chip");
  const text = chip.querySelector(".text");
  chip.dataset.state = awaySince ? "away" : status?.model_loaded ? "live" : "none";
  if (awaySince) setText(text, "away");
  else if (status?.model_loaded) setText(text, `${shortName(status.model_path)} · generation ${status.model_generation}${status.pinned ? " · pinned" : ""}`);
  else if (status) setText(text, "no model");
}

function show() {
  showNotices();
  showChip();
}

connection.addEventListener("away", () => { awaySince = new Date(); show(); });
connection.addEventListener("back", () => { awaySince = null; show(); });

/** Asks before an order; whether the answer was yes. Escape and Cancel say no. */
export function confirmed({ title, text, yes }) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  byId("confirm-yes").focus();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// --- colours ---

const THEMES = { "": ["◐", "as the system says"], light: ["☀", "light"], dark: ["☾", "dark"] };

function showTheme() {
  const [sign, words] = THEMES[document.documentElement.dataset.theme || ""];
  setText(byId("theme"), sign);
  byId("theme").setAttribute("aria-label", `Colours: ${words}`);
  byId("theme").title = `Colours: ${words}`;
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
  localStorage.setItem("nordiq-theme", next);
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  showTheme();
  document.dispatchEvent(new Event("theme"));
}

byId("theme").addEventListener("click", nextTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));
byId("sign-out").addEventListener("click", async () => { await post("/sign-out"); location.assign(urlOf("/sign-in")); });
setText(byId("zone"), zone);
showTheme();
follow("/status", () => STATUS_SECONDS, (body) => {
  status = body;
  show();
});
