import assert from "node:assert/strict";
import test from "node:test";

import { load } from "./browser.js";

const { FULL, NOT_KNOWN, decode, drawMap, palette, valueOf } = await load("heat.js");
const { tables } = await load("tables.js");

test("bytes are values as the daemon packed them", () => {
  assert.deepEqual([FULL, NOT_KNOWN], [tables.bytes.full, tables.bytes.not_known]);
  assert.deepEqual([...decode(btoa("\x00\x7d\xff"))], [0, 125, 255]);
  assert.equal(valueOf(FULL, 80), 80);
  assert.equal(valueOf(FULL / 2, 80), 40);
  assert.equal(valueOf(NOT_KNOWN, 80), null);
});

test("the palette goes from the calm colour to the hot one", () => {
  const colours = palette();
  assert.deepEqual(Array.from(colours.slice(0, 3)), [238, 242, 247]);
  assert.deepEqual(Array.from(colours.slice(FULL * 3, FULL * 3 + 3)), [168, 28, 47]);
});

test("of several servers in one line the highest is seen, and what is not known is left empty", () => {
  const rows = [[10, NOT_KNOWN], [FULL, NOT_KNOWN], [20, 5], [NOT_KNOWN, 7]];
  let image;
  const Made = globalThis.ImageData;
  globalThis.ImageData = function ImageData(...size) { return (image = new Made(...size)); };
  drawMap({ drawImage: () => {} }, { rows: 4, columns: 2, byteAt: (row, column) => rows[row][column], width: 10, height: 2 });
  const colours = palette();
  const pixel = (at) => Array.from(image.data.slice(at * 4, at * 4 + 4));
  const of = (byte) => [...colours.slice(byte * 3, byte * 3 + 3), 255];
  assert.deepEqual([0, 1, 2, 3].map(pixel), [of(FULL), [0, 0, 0, 0], of(20), of(7)]);
});
