// Numbers and times as people read them, in the viewer's own zone and language.

import { h } from "./dom.js";
import { tables } from "./tables.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A moment of the API; one without a zone is UTC. */
export function parseTime(text) {
  return new Date(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`);
}

/** A <time> that says when, shortly; the whole moment is in its title. */
export function time(text) {
  if (!text) return "–";
  const moment = parseTime(text);
  const short = Math.abs(Date.now() - moment) < 12 * HOUR * 1000 ? clock.format(moment) : day.format(moment);
  return h("time", { datetime: moment.toISOString(), title: whole.format(moment) }, short);
}

/** Until when and why no alert of a server is raised, as children of an element. */
export function describeMaintenance({ by, until, reason, since }) {
  if (by !== "order") return [reason];
  return ["until ", time(until), reason && `: ${reason}`, h("span", { class: "muted" }, " (begun ", time(since), ")")];
}

export const clockTime = (moment) => clock.format(moment);
export const dayTime = (moment) => day.format(moment);

/** "3 min", "2 h 5 min", "4 d". */
export function duration(seconds) {
  if (seconds < 0.0005) return "< 1 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 2 * MINUTE) return `${Math.round(seconds)} s`;
  if (seconds < 2 * HOUR) return `${Math.round(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) {
    const minutes = Math.floor((seconds % HOUR) / MINUTE);
    return `${Math.floor(seconds / HOUR)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  return `${Math.round(seconds / DAY)} d`;
}

/** Megabytes as the API rounds them, to one decimal. */
export const megabytes = (value) => (value < 0.1 ? "< 0.1 MB" : `${value.toLocaleString(undefined, { maximumFractionDigits: 1 })} MB`);

export function ago(text) {
  const seconds = (Date.now() - parseTime(text)) / 1000;
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

/** Three digits that count; a dash for what is not known. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString();
  return value.toFixed(size >= 10 ? 1 : 2);
}

const NAMES = { cpu: "CPU", pct: "", mem: "memory", mb: "MB", iowait: "I/O wait", java: "Java", sys: "system" };

/** cpu_user_pct → "CPU user"; what a person calls a metric. */
export function metricName(name) {
  const words = name.replace(/_mb_s$/, "").split("_").map((word) => NAMES[word] ?? word).filter(Boolean);
  const text = words.join(" ");
  return text[0].toUpperCase() + text.slice(1);
}

/** The unit of one of the daemon's metrics. */
export const unitOf = (name) => tables.units[name] ?? "";

const BUILT_IN = { baseline: "built-in forecast", starter: "starter model" };

/** What is called `baseline` or `starter` where versions have their names, in words; undefined for a version. */
export const builtIn = (version) => BUILT_IN[version];

/** Who a forecast is by. */
export const forecastBy = (version) => (version === "baseline" ? "Built-in forecast" : `Forecast by ${builtIn(version) ? `the ${builtIn(version)}` : shortName(version)}`);

/** tft_model_20250131_143000 without what all names share. */
export const shortName = (name) => name.replace(/^models\//, "").replace(/^tft_model_/, "");
