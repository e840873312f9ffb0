// Talks to the daemon. Answers that have not changed cost an empty 304 and no redraw.

const ANSWER_MILLISECONDS = 15000;
const AFTER_FAILURE_SECONDS = 3; // after "too many requests", the console must not poll more often

/** Fires "away" with the reason when the daemon stops answering and "back" when it answers again. */
export const connection = new EventTarget();
let away = false;

/** The address of one of the daemon's paths, whatever path a proxy has the daemon under. */
export const urlOf = (path) => `${document.body.dataset.root ?? ""}${path}`;

/** The page of one server. */
export const serverPage = (name) => urlOf(`/servers/${encodeURIComponent(name)}`);

export class Refused extends Error {}

/** The text of an answer. Refused, with the daemon's words, when it has none to give. */
export async function get(path) {
  const response = await request(path, { cache: "no-cache" });
  if (!response.ok) throw await refusal(response);
  return response.text();
}

/** Orders something, by JSON if there is a body; returns the answer's body. Refused, with the daemon's words, when it says no. */
export const post = (path, body) => order("POST", path, body);

/** The same for what is to be taken away. */
export const remove = (path) => order("DELETE", path);

async function order(method, path, body) {
  const headers = { "X-Nordiq-Console": "1", ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  const response = await request(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? {} : response.json();
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return new Refused(body.reason || body.detail || body.error || `HTTP ${response.status}`);
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(urlOf(path), { ...options, signal: AbortSignal.timeout(ANSWER_MILLISECONDS) });
  } catch (error) {
    announce(true);
    throw error;
  }
  announce(false);
  if (response.status === 401) {
    const page = location.pathname.slice(urlOf("").length) + location.search;
    location.assign(`${urlOf("/sign-in")}?next=${encodeURIComponent(page)}`);
    throw new Refused("signed out");
  }
  return response;
}

function announce(isAway) {
  if (isAway === away) return;
  away = isAway;
  connection.dispatchEvent(new Event(isAway ? "away" : "back"));
}

/**
 * Asks for `path` every `seconds()` and calls `show(body)` whenever the answer differs from the one before.
 * Rests while the page is hidden. Returns a function that asks at once.
 */
export function follow(path, seconds, show) {
  let timer = 0;
  let shown = null;
  let asking = null;

  async function ask() {
    clearTimeout(timer);
    const text = await get(path).catch(() => null); // no answer: the notice says so, and we try again
    asking = null;
    const pause = text === null ? Math.max(AFTER_FAILURE_SECONDS, seconds()) : seconds();
    if (!document.hidden) timer = setTimeout(now, 1000 * pause);
    if (text === null || text === shown) return;
    shown = text;
    show(JSON.parse(text));
  }

  function now() {
    asking ??= ask();
    return asking;
  }

  document.addEventListener("visibilitychange", () => document.hidden || now());
  now();
  return now;
}
