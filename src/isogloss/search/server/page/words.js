// The words of the interface in the language of the moment.

import english from "./words_en.js";
import chinese from "./words_zh.js";

const KEY = "isogloss-language";
const TABLES = { en: english, zh: chinese };
const TAGS = { en: "en", zh: "zh-Hans" };

let current = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

export function language() {
  return current;
}

export function setLanguage(code) {
  if (!(code in TABLES)) return;
  current = code;
  document.documentElement.lang = TAGS[code];
  try {
    localStorage.setItem(KEY, code);
  } catch {
    // Forbidden storage: the choice lasts until the page is closed.
  }
}

/** The words under `key`, with {names} replaced by values. */
export function t(key, values = {}) {
  const words = TABLES[current][key];
  if (words === undefined) throw new Error(`no words for "${key}"`);
  return words.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Words that change with a count: key_one or key_other, with {count} written out. */
export function tn(key, count, values = {}) {
  return t(`${key}_${count === 1 ? "one" : "other"}`, { ...values, count: number(count) });
}

export function number(value, digits) {
  const shape = digits === undefined ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(TAGS[current], shape).format(value);
}

/** Seconds as 0:02.1, the same in every language. */
export function clock(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const minutes = Math.floor(tenths / 600);
  const rest = (tenths - minutes * 600) / 10;
  return `${minutes}:${rest < 10 ? "0" : ""}${rest.toFixed(1)}`;
}

/** Puts words into every element of `root` that names them in data-t, data-t-label or data-t-hint. */
export function fillWords(root = document) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]"))
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of root.querySelectorAll("[data-t-hint]"))
    element.setAttribute("placeholder", t(element.dataset.tHint));
}

/** Both names of a variety, the one for this language first; the second may be null. */
export function varietyNames(entry) {
  const latin = entry.name || entry.code;
  const native = entry.native_name || null;
  if (current === "zh" && native) return [native, latin === native ? null : latin];
  return [latin, native === latin ? null : native];
}

/** A site as people write it: corpora join its parts with underscores and mark empty ones. */
export function siteName(site) {
  return site
    .split("_")
    .filter((part) => part && part !== "（无）")
    .join(" · ");
}
