// The panel that asks: microphone, file, drop, typed id or text. It makes sources and hands them on.

import { find, fitCanvas, make } from "./dom.js";
import { mountDrop } from "./drop.js";
import { RecorderError, startRecording } from "./recorder.js";
import { decodeSound, hush, loadSound, peaks, play } from "./sound.js";
import { colour, onTheme } from "./theme.js";
import { clock, number, t, varietyNames } from "./words.js";

const [LONGEST_EXAMPLE, BAR] = [60, 4]; // characters, pixels
const SEEN_SECONDS = 6;

/**
 * Mounts the panel. `onSource` gets a source to search for, `onCancel` a wish to stop the search,
 * `onProblem` the words of what went wrong. Returns {setInfo, setBusy, setSource, relabel}.
 */
export function mountAsk({ onSource, onCancel, onProblem }) {
  const record = find("record");
  const listen = find("listen");
  const cancel = find("cancel");
  const canvas = find("waveform");
  const panel = find("ask");
  let limits = { seconds: 30, upload_bytes: Infinity };
  let accepts = ["audio"];
  let examples = [];
  let state = "idle"; // idle, opening, live, busy
  let recording = null;
  let levels = []; // of a live recording: peak of each block
  let taken = null; // buffer of the query that was asked
  let position = null;
  let source = null;

  async function begin() {
    hush();
    onCancel();
    state = "opening";
    levels = [];
    relabel();
    const opened = { cancelled: false };
    recording = opened;
    try {
      const started = await startRecording({
        maxSeconds: limits.seconds,
        onBlock: (block, seconds) => {
          levels.push({ peak: block.reduce((most, value) => Math.max(most, Math.abs(value)), 0), seconds });
          find("timer").textContent = clock(seconds);
          draw();
        },
        onLimit: () => finish(),
      });
      // Cancelled while the browser was asking for permission.
      if (opened.cancelled) {
        started.cancel();
        return;
      }
      recording = started;
      state = "live";
      taken = null;
    } catch (problem) {
      if (opened.cancelled) return;
      fail(problem);
    }
    relabel();
  }

  async function finish() {
    if (state !== "live") return;
    const running = recording;
    recording = null;
    state = "idle";
    relabel();
    try {
      const { blob, seconds } = await running.stop();
      onSource({ kind: "audio", blob, name: "recording.wav", label: "recording", seconds });
    } catch (problem) {
      fail(problem);
    }
  }

  function fail(problem) {
    if (!(problem instanceof RecorderError)) throw problem;
    recording = null;
    state = "idle";
    find("timer").textContent = "";
    onProblem(t(problem.key));
    relabel();
  }

  function dropRecording() {
    if (!recording) return;
    if ("cancelled" in recording) recording.cancelled = true;
    else recording.cancel();
    recording = null;
    levels = [];
    state = "idle";
    relabel();
  }

  function takeFile(file) {
    if (!file || !accepts.includes("audio")) return;
    dropRecording();
    if (file.size === 0) return onProblem(t("file_empty"));
    if (file.size > limits.upload_bytes) {
      const size = number(file.size / 1e6, 1);
      return onProblem(t("file_large", { size, limit: number(limits.upload_bytes / 1e6, 1) }));
    }
    return onSource({ kind: "audio", blob: file, name: file.name, label: "file" });
  }

  async function listenToTake() {
    if (position !== null) return hush();
    if (!taken) return undefined;
    return play(taken, {
      onPosition: (seconds) => {
        position = seconds;
        listen.textContent = t(seconds === null ? "listen" : "listen_stop");
        draw();
      },
    });
  }

  /** Shows what is asked: the words for it, and its waveform where it has one. */
  async function setSource(wanted) {
    source = wanted;
    taken = null;
    relabel();
    if (wanted?.kind !== "audio") return;
    try {
      const buffer = await decodeSound(await wanted.blob.arrayBuffer());
      if (source === wanted) taken = buffer;
    } catch {
      // A format that this browser cannot decode, while the server may: no waveform then.
    }
    relabel();
  }

  /** The query as the server heard it, for queries that are items of the index. */
  async function setHeard(path) {
    const asked = source;
    if (!asked || asked.kind === "audio") return;
    try {
      const buffer = await loadSound(path);
      if (source === asked) taken = buffer;
    } catch {
      return; // A query of text has no sound.
    }
    relabel();
  }

  function words() {
    if (state === "opening") return t("record_opening");
    if (state === "live") return t("record_live");
    if (state === "busy") return t("busy");
    if (!source) return t("record_idle");
    return source.kind === "audio" && source.label === "recording" ? t("record_again") : queryWords(source);
  }

  function relabel() {
    panel.dataset.state = state;
    find("record-words").textContent = words();
    record.setAttribute("aria-label", t(state === "live" ? "record_stop_label" : "record_label"));
    listen.hidden = taken === null || state !== "idle";
    listen.textContent = t(position === null ? "listen" : "listen_stop");
    cancel.hidden = state === "idle";
    if (taken && state !== "live") find("timer").textContent = clock(taken.duration);
    else if (state === "idle") find("timer").textContent = "";
    relabelTyped();
    relabelExamples();
    draw();
  }

  /** Only the ways to ask that the encoder takes: one of text has no use for a microphone. */
  function showWays() {
    const hears = accepts.includes("audio");
    find("take").hidden = !hears;
    find("ask-title").dataset.t = hears ? "title" : "title_text";
    find("lead").dataset.t = hears ? "lead" : "lead_text";
  }

  function relabelTyped() {
    const kinds = accepts.filter((kind) => kind === "item" || kind === "text").reverse();
    find("typed").hidden = kinds.length === 0;
    const select = find("typed-kind");
    const before = kinds.includes(select.value) ? select.value : kinds[0];
    const name = (kind) => t(kind === "item" ? "typed_id" : "typed_text");
    select.replaceChildren(...kinds.map((kind) => make("option", { value: kind, text: name(kind) })));
    if (kinds.length) select.value = before;
    const field = find("typed-words");
    field.placeholder = t(select.value === "text" ? "typed_text_hint" : "typed_id_hint");
    field.setAttribute("aria-label", kinds.length ? name(select.value) : "");
  }

  function relabelExamples() {
    const root = find("examples");
    root.hidden = examples.length === 0 || source !== null;
    root.replaceChildren(
      make("span", { class: "examples-title", text: t("examples") }),
      ...examples.map((item) =>
        make(
          "button",
          { type: "button", class: "example", onclick: () => onSource({ kind: "item", id: item.id }) },
          make("span", { dir: "auto", text: [...(item.transcript || item.text || item.id)].slice(0, LONGEST_EXAMPLE).join("") }),
          make("small", { text: varietyNames({ name: item.variety_name, native_name: item.variety_native_name, code: item.variety })[0] }),
        ),
      ),
    );
  }

  function draw() {
    const width = canvas.parentElement.clientWidth;
    const height = 56;
    const context = fitCanvas(canvas, width, height);
    const count = Math.floor(width / BAR);
    let bars = new Float32Array(count);
    if (state === "live") {
      // The newest block is at the right edge until the window is full.
      const from = Math.max(0, (levels.at(-1)?.seconds ?? 0) - SEEN_SECONDS);
      for (const { peak, seconds } of levels) {
        const at = Math.min(count - 1, Math.floor(((seconds - from) / SEEN_SECONDS) * count));
        if (at >= 0) bars[at] = Math.max(bars[at], peak);
      }
    } else if (taken) bars = peaks(taken, count);
    const top = Math.max(0.05, ...bars);
    const [plain, done] = [colour(state === "live" ? "--live" : "--wave"), colour("--accent")];
    const reached = position === null ? -1 : (position / taken.duration) * count;
    for (let i = 0; i < count; i += 1) {
      // Loudness is heard on a logarithmic scale; the square root comes near and keeps silence at 0.
      const size = Math.max(2, Math.sqrt(bars[i] / top) * (height - 4));
      context.fillStyle = bars[i] === 0 ? colour("--rule") : i <= reached ? done : plain;
      context.fillRect(i * BAR, (height - size) / 2, BAR - 2, size);
    }
  }

  record.addEventListener("click", () => (state === "live" ? finish() : state === "opening" ? dropRecording() : begin()));
  listen.addEventListener("click", listenToTake);
  cancel.addEventListener("click", () => {
    dropRecording();
    onCancel();
  });
  find("file").addEventListener("change", (event) => {
    takeFile(event.target.files[0]);
    // The same file chosen again is a new wish.
    event.target.value = "";
  });
  find("typed-kind").addEventListener("change", relabelTyped);
  find("typed").addEventListener("submit", (event) => {
    event.preventDefault();
    const value = find("typed-words").value.trim();
    if (!value) return find("typed-words").focus();
    return onSource(find("typed-kind").value === "text" ? { kind: "text", text: value } : { kind: "item", id: value });
  });
  mountDrop(panel, takeFile);
  new ResizeObserver(draw).observe(canvas.parentElement);
  onTheme(draw);

  return {
    setInfo: (info) => {
      limits = { ...limits, ...info.limits };
      accepts = info.accepts;
      showWays();
      examples = info.examples ?? [];
      relabel();
    },
    setBusy: (busy) => {
      if (state === "live" || state === "opening") return;
      state = busy ? "busy" : "idle";
      relabel();
    },
    setSource,
    setHeard,
    relabel,
  };
}

/** The words that name a source. */
export function queryWords(source) {
  if (source.kind === "item") return t("query_item", { id: source.id });
  if (source.kind === "text") return t("query_text", { text: source.text });
  if (source.label === "file") return t("query_file", { name: source.name });
  return t("query_audio", { seconds: t("seconds", { seconds: number(source.seconds, 1) }) });
}
