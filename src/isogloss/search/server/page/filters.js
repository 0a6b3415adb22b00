// Which varieties, and how many results.

import { make } from "./dom.js";
import { number, t, tn, varietyNames } from "./words.js";

const FIRST = 12;
const COUNTS = [5, 10, 20, 50, 100];

/** Mounts the row; `onChange` gets {varieties, k}. Returns {setInfo, set, relabel}. */
export function mountFilters(root, { onChange, toneOf }) {
  let entries = [];
  let most = 100;
  let chosen = [];
  let k = 10;
  let open = false;

  function draw() {
    const focused = document.activeElement?.dataset?.chip;
    root.hidden = entries.length === 0;
    // Chosen chips stay in sight even when the row is short.
    const shown = open ? entries : entries.filter((entry, at) => at < FIRST || chosen.includes(entry.code));
    const hidden = entries.length - shown.length;
    const chips = [
      chip("", t("filter_all"), null, chosen.length === 0, () => change([])),
      ...shown.map((entry) =>
        chip(entry.code, varietyNames(entry)[0], entry.items, chosen.includes(entry.code), () => toggle(entry.code)),
      ),
    ];
    if (hidden > 0 || open) {
      chips.push(
        make("button", {
          type: "button",
          class: "link-button",
          "data-chip": "more",
          "aria-expanded": String(open),
          text: open ? t("filter_fewer") : tn("filter_more", hidden),
          onclick: () => {
            open = !open;
            draw();
          },
        }),
      );
    }
    const counts = [...new Set([...COUNTS.filter((count) => count <= most), Math.min(k, most)])].sort((a, b) => a - b);
    const select = make(
      "select",
      { id: "count", onchange: (event) => change(chosen, Number(event.target.value)) },
      ...counts.map((count) => make("option", { value: count, selected: count === k, text: number(count) })),
    );
    root.replaceChildren(
      make("div", { class: "chips", role: "group", "aria-label": t("filter_varieties") }, ...chips),
      make("label", { class: "count" }, make("span", { text: t("count") }), select),
    );
    // The chips are made anew; the keyboard stays where it was.
    if (focused !== undefined) root.querySelector(`[data-chip="${CSS.escape(focused)}"]`)?.focus();
  }

  function chip(code, name, items, pressed, onclick) {
    return make(
      "button",
      { type: "button", class: `chip ${code ? toneOf(code) : ""}`, "data-chip": code, "aria-pressed": String(pressed), onclick },
      code ? make("span", { class: "tone", "aria-hidden": "true" }) : null,
      make("span", { text: name }),
      items === null ? null : make("span", { class: "chip-count", text: number(items) }),
    );
  }

  function toggle(code) {
    change(chosen.includes(code) ? chosen.filter((each) => each !== code) : [...chosen, code]);
  }

  function change(varieties, count = k) {
    chosen = varieties;
    k = count;
    draw();
    onChange({ varieties: chosen, k });
  }

  return {
    setInfo: (info) => {
      entries = info.varieties.filter((entry) => entry.items > 0).sort((a, b) => b.items - a.items);
      most = info.limits?.k ?? most;
      draw();
    },
    set: (state) => {
      chosen = state.varieties;
      k = state.k;
      draw();
    },
    relabel: draw,
  };
}
