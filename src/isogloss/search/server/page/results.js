// The list of results: one card each, moved through with arrow keys, opened with Enter, played
// with Space.

import { find, icon, make, setIcon } from "./dom.js";
import { hush, loadSound, play } from "./sound.js";
import { clock, number, siteName, t, tn, varietyNames } from "./words.js";

/**
 * Mounts the list. `onOpen` gets a hit to compare with the query, `onMore` an item to search with,
 * `onLink` a hit to link to, `onProblem` words. Returns {show, clear, select, focus, cardOf}.
 */
export function mountResults({ onOpen, onMore, onLink, onProblem, toneOf, varietyOf }) {
  const list = find("hits");
  let cards = new Map(); // item id -> {element, hit, toggle}

  function show(hits) {
    cards = new Map();
    list.replaceChildren(...hits.map((hit) => card(hit)));
    find("nothing").hidden = hits.length > 0;
    find("keys").hidden = hits.length === 0;
    const first = list.querySelector(".hit");
    if (first) first.tabIndex = 0;
  }

  function card(hit) {
    const { item } = hit;
    const [name, other] = varietyNames(varietyOf(item.variety, item));
    const player = item.audio ? soundRow(hit) : make("p", { class: "hit-sound none", text: t("no_audio") });
    const element = make(
      "article",
      {
        class: `hit ${toneOf(item.variety)}`,
        tabindex: -1,
        "data-id": item.id,
        "aria-label": `${t("rank_label", { rank: hit.rank })}: ${name}, ${t("score_label", { score: number(hit.score, 3) })}`,
        "aria-keyshortcuts": "Enter Space ArrowUp ArrowDown",
        onclick: (event) => {
          // A press on a button inside, or text that was just marked, is not a wish to open.
          if (event.target.closest("button, input, a") || String(getSelection())) return;
          element.focus({ preventScroll: true });
          onOpen(hit);
        },
        onkeydown: (event) => keyed(event, hit, element),
        onfocus: () => rove(element),
      },
      make(
        "div",
        { class: "hit-head" },
        make("span", { class: "rank", "aria-hidden": "true", text: String(hit.rank) }),
        make(
          "div",
          { class: "hit-who" },
          make("span", { class: "tone", "aria-hidden": "true" }),
          make("strong", { class: "variety", text: name }),
          other ? make("span", { class: "other", text: other }) : null,
          item.site ? make("span", { class: "site", text: siteName(item.site) }) : null,
          hit.tied ? make("span", { class: "tied", title: t("tied_title"), text: t("tied") }) : null,
        ),
        scoreBar(hit),
      ),
      make("div", { class: "hit-words" }, ...said(item)),
      player,
      make(
        "div",
        { class: "hit-foot" },
        make("span", { class: "about" }, ...about(item)),
        make(
          "span",
          { class: "hit-links" },
          make("button", { type: "button", class: "link-button", text: t("more_like"), onclick: () => onMore(item) }),
          make("button", { type: "button", class: "link-button", text: t("copy_link"), onclick: (event) => onLink(hit, event.currentTarget) }),
        ),
      ),
    );
    cards.set(item.id, { element, hit, toggle: player.toggle });
    return make("li", {}, element);
  }

  function soundRow(hit) {
    const { item } = hit;
    const seek = make("input", { type: "range", class: "seek", min: 0, max: 1000, value: 0, "aria-label": t("play_label", { rank: hit.rank }) });
    const time = make("span", { class: "time", text: clock(item.seconds ?? 0) });
    const button = make("button", { type: "button", class: "play", "aria-label": t("play_label", { rank: hit.rank }) }, icon("play"));
    const row = make("div", { class: "hit-sound" }, button, seek, time);
    let playing = false;
    const draw = (seconds, duration) => {
      seek.value = String(duration ? Math.round((1000 * (seconds ?? 0)) / duration) : 0);
      seek.style.setProperty("--done", `${Number(seek.value) / 10}%`);
      seek.setAttribute("aria-valuetext", clock(seconds ?? 0));
      time.textContent = clock(seconds ?? duration ?? 0);
    };
    const start = async (share = 0) => {
      try {
        const buffer = await loadSound(item.audio);
        const over = play(buffer, {
          from: share * buffer.duration,
          onPosition: (seconds) => draw(seconds, buffer.duration),
        });
        playing = true;
        mark();
        await over;
      } catch (problem) {
        onProblem(problem.name === "ServerError" ? problem : t("cannot_play"));
      } finally {
        playing = false;
        mark();
      }
    };
    const mark = () => {
      setIcon(button, playing ? "stop" : "play");
      button.setAttribute("aria-label", t(playing ? "stop_label" : "play_label", { rank: hit.rank }));
      row.classList.toggle("playing", playing);
    };
    row.toggle = () => (playing ? hush() : start());
    button.addEventListener("click", row.toggle);
    seek.addEventListener("change", () => start(Number(seek.value) / 1000));
    return row;
  }

  function keyed(event, hit, element) {
    if (event.target !== element || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...list.querySelectorAll(".hit")];
    const at = all.indexOf(element);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    if (event.key in moves) {
      event.preventDefault();
      all[Math.min(all.length - 1, Math.max(0, moves[event.key]))].focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      onOpen(hit);
    } else if (event.key === " ") {
      event.preventDefault();
      cards.get(hit.item.id).toggle?.();
    }
  }

  /** Only one card is in the order of the Tab key: the last one that had the focus. */
  function rove(element) {
    for (const other of list.querySelectorAll(".hit")) other.tabIndex = other === element ? 0 : -1;
  }

  function select(id) {
    for (const [key, { element }] of cards) {
      element.classList.toggle("selected", key === id);
      if (key === id) {
        element.setAttribute("aria-current", "true");
        rove(element);
      } else element.removeAttribute("aria-current");
    }
  }

  return {
    show,
    clear: () => show([]),
    select,
    focus: (id) => cards.get(id)?.element.focus(),
    cardOf: (id) => cards.get(id)?.element ?? null,
  };
}

function scoreBar(hit) {
  const share = Math.max(0, Math.min(1, hit.score));
  const fill = make("span", { class: "score-fill" });
  fill.style.width = `${share * 100}%`;
  return make(
    "div",
    { class: "score", role: "img", "aria-label": t("score_label", { score: number(hit.score, 3) }) },
    make("span", { class: "score-track" }, fill),
    make("span", { class: "score-number", text: number(hit.score, 3) }),
  );
}

/** What was said, in its own words and in the standard ones. */
function said(item) {
  const words = item.transcript || item.text;
  if (!words && !item.translation) return [make("p", { class: "unsaid", text: t("transcript_missing") })];
  const parts = [];
  if (words) parts.push(make("p", { class: "transcript", lang: item.variety, dir: "auto", text: words }));
  if (item.translation && item.translation !== words) {
    parts.push(make("p", { class: "translation", dir: "auto", text: item.translation }));
  }
  return parts;
}

function about(item) {
  const facts = [];
  if (item.speaker) facts.push(t("speaker", { speaker: item.speaker }));
  if (Number.isFinite(item.seconds)) facts.push(t("seconds", { seconds: number(item.seconds, 1) }));
  return [...facts.map((fact) => make("span", { text: fact })), make("code", { text: item.id })];
}

/** The line above the list. */
export function resultsTitle(count, query) {
  return [make("span", { text: tn("results", count) }), make("small", { text: t("results_for", { query }) })];
}
