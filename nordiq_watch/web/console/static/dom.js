// Elements without a framework: text is always text, and what has not changed is not touched.

/** An element. `on…` are listeners, `class` and others are attributes, false and null are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces what an element holds, unless it was made from the same facts. */
export function fill(element, facts, make) {
  const print = JSON.stringify(facts);
  if (element.dataset.print === print) return;
  element.dataset.print = print;
  const action = focusedAction(element);
  element.replaceChildren(...[make()].flat());
  if (action) element.querySelector(`[data-action="${CSS.escape(action)}"]`)?.focus();
}

/**
 * One child for each item, in order; children of items that are the same are kept as they are. Two items with one key
 * are an error: only one of them could be told from the children that are there, and the list would grow.
 */
export function fillList(parent, items, { key, facts = (item) => item, make }) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const names = items.map((item) => String(key(item)));
  if (new Set(names).size < names.length) {
    throw new TypeError(`two items of a list have the key ${names.find((name, index) => names.indexOf(name) !== index)}`);
  }
  let place = parent.firstChild;
  for (const [index, item] of items.entries()) {
    const name = names[index];
    const print = JSON.stringify(facts(item));
    let child = before.get(name);
    before.delete(name);
    if (child === undefined || child.dataset.print !== print) {
      const action = child && focusedAction(child);
      const made = make(item);
      made.dataset.key = name;
      made.dataset.print = print;
      if (child) {
        if (place === child) place = made;
        child.replaceWith(made);
      }
      if (action) made.querySelector(`[data-action="${CSS.escape(action)}"]`)?.focus();
      child = made;
    }
    if (place === child) place = child.nextSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of before.values()) child.remove();
}

function focusedAction(element) {
  const focused = document.activeElement;
  return focused && element.contains(focused) ? focused.dataset.action : null;
}
