// Light, dark, or as the system says; and the colours of the moment for canvases.

import { find } from "./dom.js";
import { t } from "./words.js";

const KEY = "isogloss-theme";
const listeners = new Set();
const system = window.matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

/** Calls back whenever the colours may have changed. */
export function onTheme(callback) {
  listeners.add(callback);
}

/** The value of a colour property such as "--ink", resolved for the present theme. */
export function colour(name) {
  // A custom property computes to its own words, light-dark(..) included; only a real property
  // such as `color` is resolved.
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

let probe = null;

export function mountTheme() {
  probe = find("colour-probe");
  const button = find("theme");
  const name = () => {
    const label = t(isDark() ? "theme_to_light" : "theme_to_dark");
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = wanted;
    try {
      localStorage.setItem(KEY, wanted);
    } catch {
      // Forbidden storage: the choice lasts until the page is closed.
    }
    changed();
  });
  const changed = () => {
    name();
    for (const callback of listeners) callback();
  };
  system.addEventListener("change", changed);
  name();
  return { name };
}
