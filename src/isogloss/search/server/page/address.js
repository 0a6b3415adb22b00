// What the address of the page remembers behind its "#": a query that others can have too, the
// filter, the number of results, the opened result and the language.

const KINDS = ["id", "text"];

/** {source, k, varieties, hit, language} from a hash; what is absent or odd is null. */
export function readAddress(hash = location.hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  let source = null;
  for (const kind of KINDS) {
    const value = fields.get(kind);
    if (value) source = kind === "id" ? { kind: "item", id: value } : { kind: "text", text: value };
  }
  const k = Number.parseInt(fields.get("k") ?? "", 10);
  const language = fields.get("lang");
  return {
    source,
    k: Number.isInteger(k) && k > 0 ? k : null,
    varieties: fields.getAll("variety").filter((code) => code !== ""),
    hit: fields.get("hit"),
    language: language === "en" || language === "zh" ? language : null,
  };
}

/** Writes the state into the address without a step in the history. */
export function writeAddress({ source, k, varieties, hit, language }, usualK) {
  const fields = new URLSearchParams();
  if (source?.kind === "item") fields.set("id", source.id);
  if (source?.kind === "text") fields.set("text", source.text);
  for (const code of varieties) fields.append("variety", code);
  if (k !== usualK) fields.set("k", String(k));
  // A result of a recording means nothing to others: the recording is not in the address.
  if (hit && source && source.kind !== "audio") fields.set("hit", hit);
  fields.set("lang", language);
  const wanted = `#${fields}`;
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
}
