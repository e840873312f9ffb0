import assert from "node:assert/strict";
import test from "node:test";

import { Element, document, load } from "./browser.js";

const { fill, fillList, h, setText } = await load("dom.js");

const list = (parent, items) => fillList(parent, items, { key: (item) => item.key, make: (item) => h("li", { "data-action": item.key }, item.text) });
const texts = (parent) => parent.children.map((child) => child.textContent);

test("an element has its attributes, its listeners and its children, and no child that is not there", () => {
  let clicks = 0;
  const made = h("button", { class: "quiet", disabled: true, title: null, hidden: false, onclick: () => clicks++ }, "a", null, false, [h("b", {}, "c")]);
  made.click();
  assert.equal(clicks, 1);
  assert.deepEqual(made.attributes, { class: "quiet", disabled: "" });
  assert.equal(made.textContent, "ac");
});

test("text that has not changed is not touched", () => {
  const element = new Element("p");
  setText(element, "a");
  element.replaceChildren = () => assert.fail("it was written again");
  setText(element, "a");
});

test("a list keeps the children whose facts are the same, in the order of the items", () => {
  const parent = new Element("ul");
  list(parent, [{ key: "a", text: "1" }, { key: "b", text: "2" }, { key: "c", text: "3" }]);
  const [a, b, c] = parent.children;
  list(parent, [{ key: "c", text: "3" }, { key: "d", text: "4" }, { key: "a", text: "changed" }]);
  assert.deepEqual(texts(parent), ["3", "4", "changed"]);
  assert.equal(parent.children[0], c);
  assert.notEqual(parent.children[2], a);
  assert.equal(b.parentElement, null);
});

test("the same items again leave the same children", () => {
  const parent = new Element("ul");
  const items = [{ key: "a", text: "1" }, { key: "b", text: "2" }];
  list(parent, items);
  const before = parent.children;
  for (let round = 0; round < 5; round++) list(parent, items);
  assert.deepEqual(parent.children, before);
});

test("two items with one key are refused, and the list stays as it was", () => {
  const parent = new Element("ul");
  list(parent, [{ key: "a", text: "1" }]);
  assert.throws(() => list(parent, [{ key: "b", text: "1" }, { key: "b", text: "2" }]), /two items of a list have the key b/);
  assert.deepEqual(texts(parent), ["1"]);
});

test("a child that is made anew keeps the focus", () => {
  const parent = new Element("ul");
  const rows = (text) => fillList(parent, [{ key: "a", text }], {
    key: (item) => item.key, make: (item) => h("li", {}, h("a", { "data-action": "go" }, item.text)) });
  rows("1");
  parent.querySelector("a").focus();
  rows("2");
  assert.equal(document.activeElement, parent.querySelector("a"));
  assert.equal(document.activeElement.textContent, "2");
});

test("what was made of the same facts is not made again", () => {
  const parent = new Element("div");
  let made = 0;
  for (const facts of [[1, "a"], [1, "a"], [2, "a"]]) fill(parent, facts, () => { made++; return h("b", {}, String(facts[0])); });
  assert.equal(made, 2);
  assert.equal(parent.textContent, "2");
});
