// Values as colours, on a canvas: the map of the whole fleet, and the strip of one server.

import { tables } from "./tables.js";

const STOPS = {
  light: [[0, 238, 242, 247], [0.3, 187, 212, 230], [0.5, 127, 178, 205], [0.65, 244, 205, 108], [0.8, 235, 131, 62], [1, 168, 28, 47]],
  dark: [[0, 30, 36, 45], [0.3, 38, 69, 92], [0.5, 58, 110, 140], [0.65, 196, 150, 54], [0.8, 222, 104, 56], [1, 245, 84, 96]],
};
export const { full: FULL, not_known: NOT_KNOWN } = tables.bytes;

export const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

/** Red, green, blue of every byte, [256 × 3]; what is not known is left to the caller. */
export function palette() {
  const stops = STOPS[isDark() ? "dark" : "light"];
  const colours = new Uint8ClampedArray(256 * 3);
  for (let byte = 0; byte <= FULL; byte++) {
    const share = byte / FULL;
    const next = Math.max(1, stops.findIndex(([at]) => at >= share));
    const [from, to] = [stops[next - 1], stops[next]];
    const part = (share - from[0]) / (to[0] - from[0]);
    for (let channel = 1; channel <= 3; channel++) {
      colours[byte * 3 + channel - 1] = from[channel] + (to[channel] - from[channel]) * part;
    }
  }
  return colours;
}

export const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Byte → the metric's value; null for what is not known. */
export const valueOf = (byte, scale) => (byte === NOT_KNOWN ? null : (byte / FULL) * scale);

/** A canvas as sharp as the screen, of this size in CSS pixels; returns its context. */
export function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * Draws rows × columns as one image, stretched to the canvas. `byteAt(row, column)` gives the byte; several rows in
 * one pixel show the highest of them, so that a single hot server in thousands is seen.
 */
export function drawMap(context, { rows, columns, byteAt, width, height, gap }) {
  const colours = palette();
  const lines = Math.min(rows, Math.max(1, Math.floor(height)));
  const image = new ImageData(columns, lines);
  for (let line = 0; line < lines; line++) {
    const first = Math.floor((line * rows) / lines);
    const last = Math.max(first + 1, Math.floor(((line + 1) * rows) / lines));
    for (let column = 0; column < columns; column++) {
      let highest = NOT_KNOWN;
      for (let row = first; row < last; row++) {
        const byte = byteAt(row, column);
        if (byte !== NOT_KNOWN && (highest === NOT_KNOWN || byte > highest)) highest = byte;
      }
      const at = (line * columns + column) * 4;
      if (highest === NOT_KNOWN) continue;
      image.data.set(colours.subarray(highest * 3, highest * 3 + 3), at);
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(columns, lines);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  const split = gap?.after ?? columns;
  const space = gap?.pixels ?? 0;
  const step = (width - space) / columns;
  context.drawImage(small, 0, 0, split, lines, 0, 0, split * step, height);
  if (split < columns) {
    context.drawImage(small, split, 0, columns - split, lines, split * step + space, 0, (columns - split) * step, height);
  }
}

/** What was, as a line, and what is forecast, as a broken one. `bytes` of one server, in order of time. */
export function drawSparkline(context, { past, future, width, height, ink, accent }) {
  const count = past.length + future.length;
  const x = (index) => 1 + (index / Math.max(1, count - 1)) * (width - 2);
  const y = (byte) => height - 2 - (byte / FULL) * (height - 4);
  const trace = (bytes, from, style, dash) => {
    context.beginPath();
    context.strokeStyle = style;
    context.lineWidth = 1.4;
    context.setLineDash(dash);
    let down = false;
    bytes.forEach((byte, index) => {
      if (byte === NOT_KNOWN) { down = false; return; }
      if (down) context.lineTo(x(from + index), y(byte));
      else context.moveTo(x(from + index), y(byte));
      down = true;
    });
    context.stroke();
  };
  trace(past, 0, ink, []);
  trace([past.at(-1), ...future], past.length - 1, accent, [3, 2]);
}
