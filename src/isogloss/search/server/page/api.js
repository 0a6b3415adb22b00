// Talks to the server: one function per endpoint, one class for everything that can go wrong.

import { t } from "./words.js";

// Relative to this file, so that the page also works below a prefix of a reverse proxy.
const BASE = new URL("../", import.meta.url);
const TOKEN = "isogloss-token";

/** What the server (or the network) said; `code` "network" means that nothing was heard. */
export class ServerError extends Error {
  constructor(message, { status = 0, code = "", requestId = "" } = {}) {
    super(message);
    this.name = "ServerError";
    this.status = status;
    this.code = code;
    this.requestId = requestId;
  }
}

let token = null;
try {
  token = sessionStorage.getItem(TOKEN);
} catch {
  // Forbidden storage: the token is asked for again when the page is loaded again.
}

export function setToken(value) {
  token = value || null;
  try {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // Kept in this variable only.
  }
}

export function hasToken() {
  return token !== null;
}

/** The answer to a request; a refusal becomes a ServerError with the server's own words. */
async function ask(path, { headers = {}, ...options } = {}) {
  const sent = { ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(new URL(path.replace(/^\//, ""), BASE), { ...options, headers: sent });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new ServerError(t("error_network"), { code: "network" });
  }
  if (answer.ok) return answer;
  const requestId = answer.headers.get("X-Request-ID") || "";
  let told = {};
  try {
    told = (await answer.json()).error || {};
  } catch {
    // A proxy in between may answer in HTML; the status has to do.
  }
  throw new ServerError(told.message || t("error_status", { status: answer.status }), {
    status: answer.status,
    code: told.code || "",
    requestId,
  });
}

export async function fetchInfo() {
  return (await ask("v1/info")).json();
}

export async function fetchItem(id) {
  return (await ask(`v1/items/${encodeURIComponent(id)}`)).json();
}

/** Bytes of a sound at an address that the server gave. */
export async function fetchSound(path, signal) {
  return (await ask(path, { headers: { Accept: "audio/wav" }, signal })).arrayBuffer();
}

export function queryAudioPath(queryId) {
  return `v1/queries/${encodeURIComponent(queryId)}/audio`;
}

/** Hits for a source: {kind: "audio", blob, name} or {kind: "item", id} or {kind: "text", text}. */
export async function search(source, { k, varieties }, signal) {
  if (source.kind === "audio") {
    const form = new FormData();
    form.append("file", source.blob, source.name);
    form.append("k", String(k));
    form.append("transcribe", "true");
    for (const code of varieties) form.append("variety", code);
    return (await ask("v1/search", { method: "POST", body: form, signal })).json();
  }
  const wanted = { k };
  if (varieties.length) wanted.varieties = varieties;
  if (source.kind === "item") wanted.id = source.id;
  else wanted.text = source.text;
  const answer = await ask("v1/search", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(wanted),
    signal,
  });
  return answer.json();
}

/** The cosines of a query's steps and an item's: as the contract says, `cosines` as bytes. */
export async function fetchSimilarity(queryId, itemId, signal) {
  const path = `v1/queries/${encodeURIComponent(queryId)}/similarity/${encodeURIComponent(itemId)}`;
  const found = await (await ask(path, { signal })).json();
  const letters = atob(found.cosines);
  const levels = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  if (levels.length !== found.rows * found.columns) {
    throw new ServerError(t("error_similarity_size"), { code: "similarity" });
  }
  // Steps of a text have no time: such an axis counts steps.
  const timed = { rows: found.row_seconds !== null, columns: found.column_seconds !== null };
  return { ...found, levels, timed, row_seconds: found.row_seconds ?? 1, column_seconds: found.column_seconds ?? 1 };
}
