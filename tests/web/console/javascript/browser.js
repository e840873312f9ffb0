// As much of a browser as the console's scripts use, for node's test runner. Elements are made when they are asked for by
// id, so that a page's script runs without its template; what is drawn on a canvas is thrown away.

const tables = process.env.NORDIQ_TABLES; // set by test_javascript.py, from the daemon's own
if (!tables) throw new Error("run these by `python -m pytest tests/web/console/test_javascript.py`");

const nothing = () => ({});

class Classes {
  constructor(element) { this.element = element; }
  contains(name) { return (this.element.attributes.class ?? "").split(" ").includes(name); }
}

export class Element extends EventTarget {
  constructor(tag) {
    super();
    this.tagName = tag.toUpperCase();
    this.attributes = {};
    this.childNodes = [];
    this.parentElement = null;
    this.dataset = {};
    this.style = {};
    this.hidden = false;
    this.value = "";
    this.checked = false;
    this.scrollTop = this.scrollHeight = this.clientHeight = 0;
    this.clientWidth = this.offsetWidth = 300;
    this.classList = new Classes(this);
  }

  get children() { return this.childNodes.filter((node) => node instanceof Element); }
  get firstChild() { return this.childNodes[0] ?? null; }
  get nextSibling() {
    const siblings = this.parentElement?.childNodes ?? [];
    return siblings[siblings.indexOf(this) + 1] ?? null;
  }
  get tBodies() { return [this.part("tbody")]; }
  get tHead() { return this.part("thead"); }
  get className() { return this.attributes.class ?? ""; }
  set className(text) { this.attributes.class = text; }
  get textContent() {
    return this.childNodes.map((node) => (node instanceof Element ? node.textContent : node)).join("");
  }
  set textContent(text) { this.replaceChildren(text); }

  part(tag) {
    let found = this.children.find((child) => child.tagName === tag.toUpperCase());
    if (!found) this.append((found = new Element(tag)));
    return found;
  }

  setAttribute(name, value) {
    this.attributes[name] = String(value);
    if (name.startsWith("data-")) {
      this.dataset[name.slice(5).replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = String(value);
    }
  }
  getAttribute(name) { return this.attributes[name] ?? null; }

  adopt(node) {
    if (!(node instanceof Element)) return String(node);
    node.remove();
    node.parentElement = this;
    return node;
  }
  append(...nodes) { for (const node of nodes) this.childNodes.push(this.adopt(node)); }
  replaceChildren(...nodes) {
    for (const child of this.children) child.parentElement = null;
    this.childNodes = [];
    this.append(...nodes);
  }
  insertBefore(node, before) {
    const adopted = this.adopt(node);
    const place = before === null ? this.childNodes.length : this.childNodes.indexOf(before);
    if (place < 0) throw new Error("NotFoundError: the node before which to insert is no child of this one");
    this.childNodes.splice(place, 0, adopted);
  }
  replaceWith(node) {
    const parent = this.parentElement;
    parent.insertBefore(node, this);
    this.remove();
  }
  remove() {
    const siblings = this.parentElement?.childNodes;
    siblings?.splice(siblings.indexOf(this), 1);
    this.parentElement = null;
  }

  * all() {
    for (const child of this.children) {
      yield child;
      yield* child.all();
    }
  }
  contains(other) { return other === this || [...this.all()].includes(other); }
  matches(selector) {
    const attribute = /^\[([\w-]+)="(.*)"\]$/.exec(selector);
    if (attribute) return this.getAttribute(attribute[1]) === attribute[2].replaceAll("\\", "");
    if (selector.startsWith(".")) return this.classList.contains(selector.slice(1));
    return this.tagName === selector.toUpperCase();
  }
  querySelectorAll(selector) { return [...this.all()].filter((element) => element.matches(selector)); }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  closest(selector) { return this.matches(selector) ? this : this.parentElement?.closest(selector) ?? null; }

  getBoundingClientRect() { return { left: 0, top: 0, width: 300, height: 100 }; }
  focus() { document.activeElement = this; }
  click() { this.dispatchEvent(new Event("click")); }
  showModal() {}
  getContext() {
    return new Proxy({}, { get: (target, name) => target[name] ?? nothing });
  }
}

class Document extends EventTarget {
  constructor() {
    super();
    this.hidden = false;
    this.body = new Element("body");
    this.head = new Element("head");
    this.documentElement = new Element("html");
    this.documentElement.append(this.head, this.body);
    this.activeElement = this.body;
    this.byId = new Map();
    this.absent = new Set();
  }
  createElement(tag) { return new Element(tag); }
  getElementById(id) {
    if (this.absent.has(id)) return null;
    if (!this.byId.has(id)) {
      const made = new Element("div");
      made.setAttribute("id", id);
      made.append(...(id === "live-chip" ? [Object.assign(new Element("span"), { className: "text" })] : []));
      this.body.append(made);
      this.byId.set(id, made);
    }
    return this.byId.get(id);
  }
  querySelector(selector) { return this.documentElement.querySelector(selector) ?? new Element("div"); }
}

const nowhere = new EventTarget();
export const document = new Document();
Object.assign(document.body.dataset, { tables, interval: "300", charts: "/charts/0.js" });

/** Path → what is answered: {status, body}; what is not here is a 404. */
export const answers = new Map();
/** "METHOD path" of all requests. */
export const requests = [];
/** The bodies of those that had one. */
export const sent = [];
/** Where the page sent its reader. */
export const visited = [];

Object.assign(globalThis, {
  document,
  window: globalThis,
  innerHeight: 600,
  devicePixelRatio: 1,
  location: { origin: "http://127.0.0.1:8000", pathname: "/", search: "", assign: (address) => visited.push(address) },
  localStorage: { getItem: () => null, setItem: () => {} },
  addEventListener: nowhere.addEventListener.bind(nowhere),
  matchMedia: () => new EventTarget(),
  getComputedStyle: () => ({ colorScheme: "light", fontFamily: "sans", getPropertyValue: () => " #102030" }),
  requestAnimationFrame: (work) => setTimeout(work, 0),
  cancelAnimationFrame: clearTimeout,
  CSS: { escape: (text) => text.replace(/[^\w-]/g, "\\$&") },
  ImageData: function ImageData(width, height) { this.data = new Uint8ClampedArray(width * height * 4); },
  OffscreenCanvas: class { getContext() { return new Element("canvas").getContext(); } },
  fetch: async (path, options = {}) => {
    requests.push(`${options.method ?? "GET"} ${path}`);
    if (options.body !== undefined) sent.push(JSON.parse(options.body));
    const answer = answers.get(path) ?? { status: 404, body: { error: "not_found" } };
    if (answer instanceof Error) throw answer;
    return new Response(answer.body === undefined ? null : JSON.stringify(answer.body), { status: answer.status ?? 200 });
  },
});

/** Pages ask again and again; tests say when. Runs what was planned, and all that follows from it at once. */
const planned = new Map();
let nextTimer = 1;
const realTimeout = setTimeout;
globalThis.setTimeout = (work, milliseconds) => {
  planned.set(nextTimer, { work, milliseconds });
  return nextTimer++;
};
globalThis.clearTimeout = (timer) => planned.delete(timer);
AbortSignal.timeout = () => new AbortController().signal;

/** Until all that was asked for has been answered and shown. */
export const settled = () => new Promise((resolve) => realTimeout(resolve, 20));

/** The milliseconds for which each planned call would wait. */
export const pauses = () => [...planned.values()].map(({ milliseconds }) => milliseconds);

/** Lets the time pass after which pages ask again. */
export async function tick() {
  const due = [...planned.values()];
  planned.clear();
  for (const { work } of due) work();
  await settled();
}

/** Imports one of the console's scripts. */
export const load = (name) => import(new URL(`../../../../nordiq_watch/web/console/static/${name}`, import.meta.url));
