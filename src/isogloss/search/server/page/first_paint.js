// Runs before the first paint, as a plain script: a stored theme or language that came with the
// modules would flash the other one first. theme.js and words.js own the same two keys.
(function () {
  let theme = null;
  let language = null;
  try {
    theme = localStorage.getItem("isogloss-theme");
    language = localStorage.getItem("isogloss-language");
  } catch {
    // Storage may be forbidden; the page then follows the system.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const chinese = (language || navigator.language || "en").toLowerCase().startsWith("zh");
  document.documentElement.lang = chinese ? "zh-Hans" : "en";
})();
