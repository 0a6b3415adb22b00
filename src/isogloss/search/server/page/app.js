// Puts the parts together: one state, one search at a time, one place that shows problems.

import { mountAsk, queryWords } from "./ask.js";
import { fetchInfo, hasToken, queryAudioPath, search, ServerError, setToken } from "./api.js";
import { readAddress, writeAddress } from "./address.js";
import { find, make } from "./dom.js";
import { mountFilters } from "./filters.js";
import { mountMap } from "./place_map.js";
import { mountResults, resultsTitle } from "./results.js";
import { mountSimilarity } from "./similarity.js";
import { mountTheme } from "./theme.js";
import { fillWords, language, number, setLanguage, t, tn, varietyNames } from "./words.js";

const USUAL_K = 10;
const TONES = 8;
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");
const NARROW = window.matchMedia("(max-width: 60rem)");

const state = { info: null, source: null, k: USUAL_K, varieties: [], answer: null, selected: null, request: null };

// One colour for each group of varieties, in the order in which the index lists them.
const tones = new Map();
const toneOf = (code) => `tone-${tones.get(code) ?? 0}`;
/** The variety behind a code: from the index, or from what the item itself says. */
const varietyOf = (code, item) =>
  state.info?.varieties.find((entry) => entry.code === code) ?? {
    code,
    name: item?.variety_name ?? item?.name,
    native_name: item?.variety_native_name ?? item?.native_name,
  };

const theme = mountTheme();
const ask = mountAsk({ onSource: (source) => run(source), onCancel: stopSearch, onProblem: showProblem });
const filters = mountFilters(find("filters"), {
  toneOf,
  onChange: ({ varieties, k }) => {
    Object.assign(state, { varieties, k });
    remember();
    if (state.source) run(state.source, { again: true });
  },
});
const map = mountMap(find("map"), {
  toneOf,
  varietyOf,
  onPlace: (hits) => {
    // Pressing a place again goes on to its next result.
    const at = hits.findIndex((hit) => hit.item.id === state.selected);
    const next = hits[(at + 1) % hits.length];
    open(next);
    results.cardOf(next.item.id)?.scrollIntoView({ block: "nearest", behavior: STILL.matches ? "auto" : "smooth" });
  },
});
const results = mountResults({
  toneOf,
  varietyOf,
  onOpen: open,
  onMore: (item) => run({ kind: "item", id: item.id }),
  onLink: copyLink,
  onProblem: showProblem,
});
const side = find("side");
const similarity = mountSimilarity(side, { varietyOf, onProblem: showProblem });

async function start() {
  const remembered = readAddress();
  if (remembered.language) setLanguage(remembered.language);
  Object.assign(state, { k: remembered.k ?? USUAL_K, varieties: remembered.varieties });
  relabel();
  await loadInfo();
  if (state.info && remembered.source) run(remembered.source, { hit: remembered.hit });
}

async function loadInfo() {
  try {
    const info = await fetchInfo();
    state.info = info;
    if (info.limits?.k) state.k = Math.min(state.k, info.limits.k);
    const groups = [...new Set(info.varieties.map((entry) => entry.group ?? entry.code))];
    for (const entry of info.varieties) tones.set(entry.code, groups.indexOf(entry.group ?? entry.code) % TONES);
    hideProblem();
    find("token-form").hidden = !(info.needs_token && !hasToken());
    ask.setInfo(info);
    filters.set({ varieties: state.varieties, k: state.k });
    filters.setInfo(info);
    map.setInfo(info);
    relabel();
  } catch (problem) {
    showProblem(problem, loadInfo);
  }
}

/** Searches for a source; `again` keeps what is on the screen until the new answer is there. */
async function run(source, { again = false, hit = null } = {}) {
  stopSearch();
  hideProblem();
  const request = new AbortController();
  Object.assign(state, { source, request });
  if (!again) ask.setSource(source);
  ask.setBusy(true);
  find("found").setAttribute("aria-busy", "true");
  remember();
  try {
    const answer = await search(source, { k: state.k, varieties: state.varieties }, request.signal);
    if (state.request !== request) return;
    showAnswer(answer, hit);
  } catch (problem) {
    if (problem.name === "AbortError" || state.request !== request) return;
    showProblem(problem, () => run(source, { again, hit }));
  } finally {
    if (state.request === request) {
      state.request = null;
      settle();
    }
  }
}

function stopSearch() {
  state.request?.abort();
  state.request = null;
  settle();
}

function settle() {
  ask.setBusy(false);
  find("found").removeAttribute("aria-busy");
}

function showAnswer(answer, wanted) {
  Object.assign(state, { answer, selected: null });
  ask.setHeard(queryAudioPath(answer.query.id));
  document.body.classList.add("answered");
  find("found").hidden = false;
  moveSide(null);
  drawAnswer();
  similarity.clear();
  const best = answer.hits[0];
  find("live").textContent = best
    ? tn("announce", answer.hits.length, { variety: nameOf(best.item), score: number(best.score, 3) })
    : t("announce_none");
  const hit = answer.hits.find((each) => each.item.id === wanted) ?? best;
  // On a phone the comparison would push the other results out of sight: it waits for a press.
  if (hit && (!NARROW.matches || wanted)) open(hit);
}

function drawAnswer() {
  const { answer } = state;
  if (!answer) return;
  find("results-title").replaceChildren(...resultsTitle(answer.hits.length, queryWords(state.source)));
  const { encode, search: found } = answer.took_ms;
  // Nothing is encoded for a query that is an item of the index.
  const ms = { encode: number(encode ?? 0, 0), search: number(found, 1) };
  const took = t(encode === null ? "took_search" : "took", ms);
  find("took").textContent = answer.exact ? `${took} · ${t("exact")}` : took;
  const words = answer.query.transcript;
  find("heard").hidden = !words;
  find("heard").textContent = words ? t("heard", { words }) : "";
  moveSide(null);
  results.show(answer.hits);
  results.select(state.selected);
  map.setHits(answer.hits);
  moveSide(state.selected);
}

function open(hit) {
  state.selected = hit.item.id;
  results.select(hit.item.id);
  map.select(hit.item.id);
  moveSide(hit.item.id);
  similarity.show(state.answer.query.id, hit);
  remember();
}

/** The comparison stands beside the list, or below the opened result where there is no beside. */
function moveSide(id) {
  const card = id && NARROW.matches ? results.cardOf(id) : null;
  if (card) card.parentElement.append(side);
  else if (side.parentElement !== find("found")) find("found").append(side);
  side.hidden = NARROW.matches && !card;
}

function remember() {
  writeAddress({ ...state, hit: state.selected, language: language() }, USUAL_K);
}

/** The link with which anyone can search from this result. */
async function copyLink(hit, button) {
  const link = new URL(location.href);
  link.hash = new URLSearchParams({ id: hit.item.id, lang: language() }).toString();
  try {
    await navigator.clipboard.writeText(link.href);
    button.textContent = t("copied");
    setTimeout(() => {
      button.textContent = t("copy_link");
    }, 2000);
    find("live").textContent = t("copied");
  } catch {
    // No clipboard without https, or it is forbidden: the link is shown, to be copied by hand.
    showProblem(t("not_copied", { link: link.href }));
  }
}

function nameOf(item) {
  return varietyNames(varietyOf(item.variety, item))[0];
}

/** Words or an error, with a way to try again; a missing token opens the box for it instead. */
function showProblem(problem, again = null) {
  const isServer = problem instanceof ServerError;
  if (!isServer && typeof problem !== "string") throw problem;
  const notice = find("notice");
  const needsToken = isServer && problem.status === 401;
  if (needsToken) {
    find("token-form").hidden = false;
    tokenThen = again;
    if (!hasToken()) {
      find("token").focus();
      return;
    }
    setToken(null);
  }
  const words = needsToken ? t("token_wrong") : isServer ? problem.message : problem;
  const parts = [
    make("p", { text: words }),
    isServer && problem.requestId ? make("p", { class: "request-id", text: t("error_request", { id: problem.requestId }) }) : "",
    make(
      "div",
      { class: "notice-buttons" },
      again && !needsToken ? make("button", { type: "button", class: "quiet-button", text: t("error_retry"), onclick: again }) : null,
      make("button", { type: "button", class: "quiet-button", text: t("error_close"), onclick: hideProblem }),
    ),
  ];
  notice.replaceChildren(...parts);
  notice.hidden = false;
}

let tokenThen = null;

function hideProblem() {
  find("notice").hidden = true;
  find("notice").replaceChildren();
}

function relabel() {
  fillWords();
  theme.name();
  const toggle = find("language");
  toggle.textContent = t("other_language");
  toggle.lang = language() === "en" ? "zh-Hans" : "en";
  toggle.setAttribute("aria-label", t("other_language_label"));
  ask.relabel();
  filters.relabel();
  map.relabel();
  const { info } = state;
  if (info) {
    const varieties = tn("varieties", info.varieties.length);
    find("index-facts").textContent = tn("facts", info.items, { varieties, encoder: shortName(info.encoder) });
    find("version").textContent = t("version", info);
  }
  drawAnswer();
  similarity.relabel();
}

/** An encoder's name without the folders of the server and without what follows its first mark. */
function shortName(encoder) {
  return encoder.split(";")[0].replace(/^([\w-]+:).*[\\/](?=[^\\/]+$)/, "$1");
}

find("language").addEventListener("click", () => {
  setLanguage(language() === "en" ? "zh" : "en");
  relabel();
  remember();
});
find("skip").addEventListener("click", () => (state.answer ? find("results-title") : find("record")).focus());
find("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  setToken(find("token").value.trim());
  find("token").value = "";
  find("token-form").hidden = true;
  const then = tokenThen;
  tokenThen = null;
  hideProblem();
  if (!state.info) await loadInfo();
  if (then && then !== loadInfo) then();
});
NARROW.addEventListener("change", () => moveSide(state.selected));
window.addEventListener("hashchange", () => {
  const wanted = readAddress();
  if (!wanted.source) return;
  Object.assign(state, { k: wanted.k ?? USUAL_K, varieties: wanted.varieties });
  filters.set({ varieties: state.varieties, k: state.k });
  run(wanted.source, { hit: wanted.hit });
});

start();
