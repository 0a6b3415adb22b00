// The comparison of the query with one result, step by step: reading, pointing, playing.

import { fetchSimilarity, queryAudioPath } from "./api.js";
import { make } from "./dom.js";
import { hush, loadSound, play } from "./sound.js";
import { drawLegend, drawMap, heatImage, layout } from "./similarity_draw.js";
import { onTheme } from "./theme.js";
import { number, t, varietyNames } from "./words.js";

// A click plays this much around its moment: about a word.
const AROUND_SECONDS = 0.3;
const HEAR = ["both", "query", "result"];

/** Mounts the panel in `root`. Returns {show, clear, relabel}; `onProblem` gets an error. */
export function mountSimilarity(root, { onProblem, varietyOf }) {
  let map = null;
  let image = null;
  let place = null;
  let shown = null; // {queryId, hit}
  let request = null;
  let hear = "both";
  const state = { cursor: null, box: null, playing: { row: null, column: null }, marks: true, querySound: null, resultSound: null };

  const canvas = make("canvas", { "aria-hidden": "true" });
  const plot = make("div", { class: "plot", tabindex: 0, role: "application", "aria-describedby": "readout" }, canvas);
  const readout = make("output", { id: "readout", class: "readout", "aria-live": "off" });
  const title = make("h2", { text: t("similarity_title") });
  const subtitle = make("p", { class: "similarity-with" });
  const numbers = make("dl", { class: "numbers" });
  const controls = make("div", { class: "similarity-controls" });
  const body = make("div", { class: "similarity-body" }, numbers, plot, readout, controls);
  root.replaceChildren(make("div", { class: "panel similarity" }, title, subtitle, body));

  async function show(queryId, hit) {
    request?.abort();
    request = new AbortController();
    const mine = request;
    shown = { queryId, hit };
    map = null;
    Object.assign(state, { cursor: null, box: null, querySound: null, resultSound: null });
    relabel();
    try {
      const found = await fetchSimilarity(queryId, hit.item.id, mine.signal);
      if (request !== mine) return;
      map = found;
      image = heatImage(found);
    } catch (problem) {
      if (problem.name === "AbortError" || request !== mine) return;
      clear();
      onProblem(problem);
      return;
    }
    relabel();
    // Sounds come after the map: it can be read without them, and a query of text has none.
    const [querySound, resultSound] = await Promise.allSettled([
      loadSound(queryAudioPath(queryId)),
      hit.item.audio ? loadSound(hit.item.audio) : Promise.reject(new Error("no sound")),
    ]);
    if (request !== mine) return;
    state.querySound = querySound.value ?? null;
    state.resultSound = resultSound.value ?? null;
    relabel();
  }

  function clear() {
    request?.abort();
    request = null;
    shown = null;
    map = null;
    relabel();
  }

  function relabel() {
    title.textContent = t("similarity_title");
    plot.setAttribute("aria-label", t("similarity_label"));
    body.hidden = map === null;
    root.classList.toggle("waiting", shown !== null && map === null);
    if (!shown) subtitle.textContent = t("similarity_empty");
    else if (!map) subtitle.textContent = t("similarity_waits");
    else {
      const { hit } = shown;
      const variety = varietyNames(varietyOf(hit.item.variety, hit.item))[0];
      subtitle.textContent = t("similarity_with", { rank: hit.rank, variety });
      numbers.replaceChildren(
        numberTile("P", map.precision, "similarity_precision"),
        numberTile("R", map.recall, "similarity_recall"),
        numberTile("F1", map.score, "similarity_score"),
      );
      relabelControls();
      read();
      draw();
    }
  }

  function numberTile(letter, value, key) {
    const name = make("dt", {}, make("span", { text: letter }), make("strong", { text: number(value, 3) }));
    return make("div", {}, name, make("dd", { text: t(key) }));
  }

  function relabelControls() {
    const possible = { both: state.querySound && state.resultSound, query: state.querySound, result: state.resultSound };
    const legend = make("canvas", { class: "legend-strip", "aria-hidden": "true" });
    drawLegend(legend);
    controls.replaceChildren(
      make("p", { class: "legend" }, make("span", { text: number(map.low, 2) }), legend, make("span", { text: number(map.high, 2) })),
      make(
        "label",
        { class: "marks" },
        make("input", {
          type: "checkbox",
          checked: state.marks,
          onchange: (event) => {
            state.marks = event.target.checked;
            draw();
          },
        }),
        make("span", { text: t("marks") }),
        ...["mutual", "row", "column"].map((kind) =>
          make("small", {}, make("span", { class: `mark ${kind}` }), t(`mark_${kind}`)),
        ),
      ),
      make(
        "fieldset",
        { class: "hear" },
        make("legend", { text: t("hear") }),
        ...HEAR.map((kind) =>
          make(
            "label",
            {},
            make("input", {
              type: "radio",
              name: "hear",
              value: kind,
              checked: hear === kind,
              disabled: !possible[kind],
              onchange: () => {
                hear = kind;
              },
            }),
            make("span", { text: t(`hear_${kind}`) }),
          ),
        ),
      ),
    );
  }

  function draw() {
    if (!map || body.hidden) return;
    const width = plot.clientWidth;
    if (width === 0) return;
    place = layout(map, width);
    drawMap(canvas, map, image, place, state, {
      query: t(map.timed.rows ? "axis_query" : "axis_query_steps"),
      result: t(map.timed.columns ? "axis_result" : "axis_result_steps"),
    });
  }

  function read() {
    if (!map || !state.cursor) {
      readout.textContent = t("readout_hint");
      return;
    }
    const { row, column } = state.cursor;
    const level = map.levels[row * map.columns + column];
    readout.textContent = t("readout", {
      row: moment(row, map.row_seconds, map.timed.rows),
      column: moment(column, map.column_seconds, map.timed.columns),
      value: number(map.low + (level / 255) * (map.high - map.low), 2),
    });
  }

  function moment(step, seconds, timed) {
    return timed ? t("seconds", { seconds: number(step * seconds, 2) }) : t("step", { step: number(step + 1) });
  }

  /** The cell under a pointer, the nearest one where it is outside. */
  function cellAt(event) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - place.x) / place.cellWidth);
    const row = Math.floor((event.clientY - box.top - place.y) / place.cellHeight);
    return {
      row: Math.max(0, Math.min(map.rows - 1, row)),
      column: Math.max(0, Math.min(map.columns - 1, column)),
    };
  }

  /** Plays stretches in seconds: the query's, the result's, or the one after the other. */
  async function hearStretch(rows, columns, kind) {
    const sound = async (buffer, [from, to], axis) =>
      play(buffer, {
        from,
        to,
        onPosition: (seconds) => {
          state.playing[axis] = seconds;
          plot.dataset.playing = seconds === null ? "" : axis;
          draw();
        },
      });
    if (kind !== "result" && state.querySound) {
      const heard = await sound(state.querySound, rows, "row");
      if (!heard) return;
    }
    if (kind !== "query" && state.resultSound) await sound(state.resultSound, columns, "column");
  }

  function hearCursor(kind) {
    if (!state.cursor) return;
    const [row, column] = [(state.cursor.row + 0.5) * map.row_seconds, (state.cursor.column + 0.5) * map.column_seconds];
    const around = (seconds) => [Math.max(0, seconds - AROUND_SECONDS), seconds + AROUND_SECONDS];
    hearStretch(around(row), around(column), kind);
  }

  let pressed = null;
  plot.addEventListener("pointerdown", (event) => {
    if (!map || event.button !== 0) return;
    pressed = { ...cellAt(event), x: event.clientX, y: event.clientY };
    state.box = null;
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => {
    if (!map) return;
    const cell = cellAt(event);
    state.cursor = cell;
    if (pressed && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 6) {
      const order = (a, b) => [Math.min(a, b), Math.max(a, b)];
      state.box = { rows: order(pressed.row, cell.row), columns: order(pressed.column, cell.column) };
    }
    readout.setAttribute("aria-live", "off");
    read();
    draw();
  });
  plot.addEventListener("pointerup", (event) => {
    if (!map || !pressed) return;
    pressed = null;
    if (state.box) {
      const { rows, columns } = state.box;
      hearStretch(
        [rows[0] * map.row_seconds, (rows[1] + 1) * map.row_seconds],
        [columns[0] * map.column_seconds, (columns[1] + 1) * map.column_seconds],
        hear,
      );
      return;
    }
    state.cursor = cellAt(event);
    read();
    // In the margin of an axis only that axis is meant.
    const box = canvas.getBoundingClientRect();
    if (event.clientX - box.left < place.x) hearCursor("query");
    else if (event.clientY - box.top > place.y + place.height) hearCursor("result");
    else hearCursor(hear);
  });
  plot.addEventListener("pointercancel", () => {
    pressed = null;
  });
  plot.addEventListener("pointerleave", () => {
    if (pressed) return;
    state.cursor = null;
    read();
    draw();
  });
  plot.addEventListener("keydown", (event) => {
    if (!map || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowUp: [-step, 0], ArrowDown: [step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] };
    const hears = { Enter: hear, " ": hear, q: "query", r: "result", Q: "query", R: "result" };
    if (event.key in moves) {
      const from = state.cursor ?? { row: 0, column: 0 };
      const [down, right] = state.cursor ? moves[event.key] : [0, 0];
      state.cursor = {
        row: Math.max(0, Math.min(map.rows - 1, from.row + down)),
        column: Math.max(0, Math.min(map.columns - 1, from.column + right)),
      };
      state.box = null;
      readout.setAttribute("aria-live", "polite");
      read();
      draw();
    } else if (event.key in hears) hearCursor(hears[event.key]);
    else if (event.key === "Escape") hush();
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(plot);
  onTheme(draw);
  relabel();

  return { show, clear, relabel };
}
