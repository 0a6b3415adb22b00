// Paints a similarity map on a canvas: heat, axes in seconds, waveforms, best matches, cursors.

import { fitCanvas } from "./dom.js";
import { peaks } from "./sound.js";
import { colour } from "./theme.js";

// Dark blue to pale yellow with evenly rising lightness: readable without colour vision and on both
// themes. The same ramp as the report's maps.
const RAMP = ["#10131f", "#1d2b53", "#2b4f7f", "#2f7a8c", "#3fa487", "#86c66b", "#d8de5b", "#fdf6b4"];

const LEFT = 62;
const RIGHT = 4;
const TOP = 26;
const BOTTOM = 66;
const WAVE = 26;

const palette = ramp(256);

function ramp(count) {
  const anchors = RAMP.map((hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));
  const found = new Uint8ClampedArray(count * 3);
  for (let i = 0; i < count; i += 1) {
    const at = (i / (count - 1)) * (anchors.length - 1);
    const low = Math.min(anchors.length - 2, Math.floor(at));
    for (let c = 0; c < 3; c += 1) {
      found[i * 3 + c] = Math.round(anchors[low][c] + (at - low) * (anchors[low + 1][c] - anchors[low][c]));
    }
  }
  return found;
}

/** A strip of the ramp from low to high, for the legend. */
export function drawLegend(canvas) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(256, 1);
  for (let i = 0; i < 256; i += 1) pixels.data.set([...palette.subarray(i * 3, i * 3 + 3), 255], i * 4);
  context.putImageData(pixels, 0, 0);
}

/** The heat of a map, one pixel a cell, painted once. */
export function heatImage({ rows, columns, levels }) {
  const image = document.createElement("canvas");
  image.width = columns;
  image.height = rows;
  const context = image.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  for (let i = 0; i < levels.length; i += 1) {
    const level = levels[i] * 3;
    pixels.data[i * 4] = palette[level];
    pixels.data[i * 4 + 1] = palette[level + 1];
    pixels.data[i * 4 + 2] = palette[level + 2];
    pixels.data[i * 4 + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return image;
}

/** Where things lie in a canvas of this width: seconds are as long down as across, within reason. */
export function layout(map, width) {
  const plotWidth = Math.max(40, width - LEFT - RIGHT);
  const alike = map.timed.rows === map.timed.columns;
  const wanted = alike
    ? (plotWidth * map.rows * map.row_seconds) / (map.columns * map.column_seconds)
    : plotWidth;
  const most = Math.max(200, Math.min(plotWidth * 0.85, window.innerHeight * 0.42));
  const plotHeight = Math.round(Math.max(Math.min(170, plotWidth), Math.min(wanted, most)));
  return {
    x: LEFT,
    y: TOP,
    width: plotWidth,
    height: plotHeight,
    totalWidth: width,
    totalHeight: TOP + plotHeight + BOTTOM,
    cellWidth: plotWidth / map.columns,
    cellHeight: plotHeight / map.rows,
  };
}

/** Paints everything; `state` has cursor, box, playing {row, column}, marks, and the two sounds. */
export function drawMap(canvas, map, image, place, state, words) {
  const context = fitCanvas(canvas, place.totalWidth, place.totalHeight);
  context.imageSmoothingEnabled = false;
  context.drawImage(image, place.x, place.y, place.width, place.height);
  if (state.marks) drawMarks(context, map, place);
  drawAxes(context, map, place, words);
  if (state.querySound) drawWave(context, place, state.querySound, "rows", map.rows * map.row_seconds);
  if (state.resultSound) drawWave(context, place, state.resultSound, "columns", map.columns * map.column_seconds);
  if (state.box) drawBox(context, place, state.box);
  if (state.cursor) drawCursor(context, place, state.cursor);
  drawPlaying(context, map, place, state.playing);
}

function drawMarks(context, map, place) {
  const at = (row, column) => [
    place.x + (column + 0.5) * place.cellWidth,
    place.y + (row + 0.5) * place.cellHeight,
  ];
  const size = Math.max(1.6, Math.min(4, Math.min(place.cellWidth, place.cellHeight) * 0.42));
  const dot = (row, column, inner, outer, radius) => {
    const [x, y] = at(row, column);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = inner;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = outer;
    context.stroke();
  };
  const mutual = [];
  map.best_columns.forEach((column, row) => {
    if (map.best_rows[column] === row) mutual.push([row, column]);
    else dot(row, column, "#ffffff", "#10131f", size * 0.8);
  });
  map.best_rows.forEach((row, column) => {
    if (map.best_columns[row] !== column) {
      const [x, y] = at(row, column);
      context.fillStyle = "#10131f";
      context.fillRect(x - size, y - size, size * 2, size * 2);
      context.fillStyle = "#ffffff";
      context.fillRect(x - size + 1, y - size + 1, size * 2 - 2, size * 2 - 2);
    }
  });
  for (const [row, column] of mutual) dot(row, column, "#ff7a33", "#10131f", size * 1.25);
}

function drawAxes(context, map, place, words) {
  context.strokeStyle = colour("--rule");
  context.fillStyle = colour("--quiet");
  context.lineWidth = 1;
  context.font = "12px system-ui, sans-serif";
  const bottom = place.y + place.height + WAVE + 6;
  const left = place.x - WAVE - 6;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const second of ticks(map.columns * map.column_seconds, place.width)) {
    const x = place.x + (second / map.column_seconds) * place.cellWidth;
    line(context, x, bottom, x, bottom + 4);
    context.fillText(String(second), x, bottom + 6);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const second of ticks(map.rows * map.row_seconds, place.height)) {
    const y = place.y + (second / map.row_seconds) * place.cellHeight;
    line(context, left - 4, y, left, y);
    context.fillText(String(second), left - 6, y);
  }
  context.fillStyle = colour("--ink");
  context.textBaseline = "bottom";
  context.textAlign = "right";
  context.fillText(`${words.result} →`, place.x + place.width, place.totalHeight - 1);
  context.textAlign = "left";
  context.fillText(`↓ ${words.query}`, 0, place.y - 9);
}

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
  context.stroke();
}

/** Round seconds for an axis of so many pixels, some 45 pixels apart at least. */
export function ticks(seconds, pixels) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60].find((each) => (each / seconds) * pixels >= 45) ?? 120;
  const found = [];
  for (let i = 0; i * step <= seconds + 1e-9; i += 1) found.push(Number((i * step).toFixed(1)));
  return found;
}

function drawWave(context, place, buffer, along, seconds) {
  const length = along === "rows" ? place.height : place.width;
  const covered = Math.min(1, buffer.duration / seconds);
  const count = Math.max(1, Math.floor((length * covered) / 3));
  const loud = peaks(buffer, count);
  const top = Math.max(0.02, ...loud);
  context.fillStyle = colour("--wave");
  for (let i = 0; i < count; i += 1) {
    const size = Math.max(1, Math.sqrt(loud[i] / top) * WAVE);
    const middle = (WAVE - size) / 2;
    if (along === "rows") context.fillRect(place.x - WAVE - 3 + middle, place.y + i * 3, size, 2);
    else context.fillRect(place.x + i * 3, place.y + place.height + 3 + middle, 2, size);
  }
}

function drawCursor(context, place, { row, column }) {
  const x = place.x + (column + 0.5) * place.cellWidth;
  const y = place.y + (row + 0.5) * place.cellHeight;
  for (const [style, width] of [["rgba(16, 19, 31, .75)", 3], ["#ffffff", 1]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x, place.y);
    context.lineTo(x, place.y + place.height);
    context.moveTo(place.x, y);
    context.lineTo(place.x + place.width, y);
    context.stroke();
  }
}

function drawBox(context, place, { rows, columns }) {
  const x = place.x + columns[0] * place.cellWidth;
  const y = place.y + rows[0] * place.cellHeight;
  const width = (columns[1] + 1 - columns[0]) * place.cellWidth;
  const height = (rows[1] + 1 - rows[0]) * place.cellHeight;
  context.lineWidth = 3;
  context.strokeStyle = "rgba(16, 19, 31, .8)";
  context.strokeRect(x, y, width, height);
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffffff";
  context.strokeRect(x, y, width, height);
}

/** The moment that sounds now: a line across the map and through the waveform beside it. */
function drawPlaying(context, map, place, playing) {
  context.strokeStyle = colour("--live");
  context.lineWidth = 2;
  context.beginPath();
  if (playing.row !== null) {
    const y = place.y + (playing.row / map.row_seconds) * place.cellHeight;
    context.moveTo(place.x - WAVE - 4, y);
    context.lineTo(place.x + place.width, y);
  }
  if (playing.column !== null) {
    const x = place.x + (playing.column / map.column_seconds) * place.cellWidth;
    context.moveTo(x, place.y);
    context.lineTo(x, place.y + place.height + WAVE + 4);
  }
  context.stroke();
}
