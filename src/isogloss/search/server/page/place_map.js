// The map of places: where the items of the index come from, and where the results are.

import { make, makeSvg } from "./dom.js";
import { LAND, RIVERS } from "./coast.js";
import { siteName, t, tn, varietyNames } from "./words.js";

// A single place is shown with this much of its surroundings, in degrees.
const LEAST_SPAN = 7;
// So many places are named before anything was asked; more names than this are a thicket.
const MOST_NAMES = 15;
// Circles of results nearer than this, in pixels, cannot be told apart by eye or finger.
const TOO_NEAR = 15;
// Room in pixels for circles and names around the outermost places.
const ROOM = { across: 130, down: 64 };

const hasPlace = (entry) => Number.isFinite(entry?.latitude) && Number.isFinite(entry?.longitude);
const keyOf = (entry) => `${entry.latitude},${entry.longitude}`;

/**
 * Mounts the map in `root`. `onPlace` gets the hits of a place that was pressed. Returns
 * {setInfo, setHits, select, relabel}.
 */
export function mountMap(root, { onPlace, varietyOf, toneOf }) {
  let places = [];
  let hits = [];
  let selected = null;
  let view = null;

  const svg = makeSvg("svg", { role: "group" });
  const caption = make("p", { class: "map-caption" });
  root.replaceChildren(svg, caption);

  function setInfo(info) {
    const found = new Map();
    const sites = info.sites.filter(hasPlace);
    // The place of a variety as a whole stands in only where its sites are not known.
    const sited = new Set(sites.map((site) => site.variety));
    for (const entry of [...sites, ...info.varieties.filter((each) => !sited.has(each.code))]) {
      if (!hasPlace(entry) || entry.items === 0 || found.has(keyOf(entry))) continue;
      found.set(keyOf(entry), { ...entry, code: entry.code ?? entry.variety });
    }
    places = [...found.values()];
    draw();
  }

  function draw() {
    const shown = [...places, ...hits.map((hit) => hit.item).filter(hasPlace)];
    root.hidden = shown.length === 0;
    if (root.hidden) return;
    const { clientWidth: width, clientHeight: height } = svg;
    if (width === 0 || height === 0) return; // The observer calls again once there is room.
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    view = viewOf(shown, width, height);
    svg.setAttribute("aria-label", t("map_label"));
    svg.replaceChildren(...background(view), ...quietPlaces(), ...hitPlaces());
    const missing = hits.filter((hit) => !hasPlace(hit.item)).length;
    const words = [hits.length ? t("map_hits") : tn("map_places", places.length)];
    if (missing) words.push(tn("map_missing", missing));
    caption.textContent = words.join(" ");
  }

  function quietPlaces() {
    const taken = new Set(hits.map((hit) => keyOf(hit.item)));
    const drawn = places
      .filter((place) => !taken.has(keyOf(place)))
      .map((place) => {
        const [x, y] = view.at(place);
        const dot = makeSvg("circle", { cx: x, cy: y, r: hits.length ? 3 : 4.5 });
        const element = makeSvg("g", { class: `place ${toneOf(place.code)}` }, makeSvg("title", {}, title(place)), dot);
        return { element, x, y, radius: 0, name: shortName(place), order: 0 };
      });
    if (hits.length === 0 && drawn.length <= MOST_NAMES) nameApart(drawn, view);
    return drawn.map((entry) => entry.element);
  }

  function hitPlaces() {
    const groups = new Map();
    for (const hit of hits) {
      if (!hasPlace(hit.item)) continue;
      const key = keyOf(hit.item);
      groups.set(key, [...(groups.get(key) ?? []), hit]);
    }
    const joined = together([...groups.values()]);
    const most = Math.max(1, ...joined.map((group) => group.length));
    const drawn = joined.map((group) => hitPlace(group, most));
    nameApart(drawn, view);
    // SVG paints in order: the selected place goes on top of its neighbours.
    drawn.sort((a, b) => a.order - b.order);
    return drawn.map((entry) => entry.element);
  }

  /** Places that would cover each other share the circle of the one with the best result. */
  function together(groups) {
    const kept = [];
    for (const group of groups) {
      const [x, y] = view.at(group[0].item);
      const near = kept.find((each) => Math.hypot(each.x - x, each.y - y) < TOO_NEAR);
      if (near) near.group.push(...group);
      else kept.push({ x, y, group: [...group] });
    }
    return kept.map(({ group }) => group.sort((a, b) => a.rank - b.rank));
  }

  function hitPlace(group, most) {
    const [x, y] = view.at(group[0].item);
    const isSelected = group.some((hit) => hit.item.id === selected);
    const radius = 7 + 4 * Math.sqrt(group.length / most);
    const titles = [...new Set(group.map((hit) => title(hit.item)))];
    const label = `${titles.slice(0, 3).join("; ")}${titles.length > 3 ? " …" : ""}: ${tn("map_results", group.length)}`;
    const press = () => onPlace(group);
    const element = makeSvg(
      "g",
      {
        class: `hit-place ${toneOf(group[0].item.variety)}${isSelected ? " selected" : ""}`,
        tabindex: 0,
        role: "button",
        "aria-label": label,
        "aria-pressed": isSelected,
        "data-place": keyOf(group[0].item),
        onclick: press,
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          press();
        },
      },
      makeSvg("title", {}, label),
      makeSvg("circle", { cx: x, cy: y, r: radius + 5, class: "ring" }),
      makeSvg("circle", { cx: x, cy: y, r: radius, class: "dot" }),
      makeSvg("text", { x, y: y + 4, class: "count" }, String(group.length)),
    );
    return { element, x, y, radius, name: shortName(group[0].item), order: isSelected ? 1 : 0 };
  }

  function title(entry) {
    const variety = varietyNames(varietyOf(entry.variety ?? entry.code, entry))[0];
    return entry.site ? `${siteName(entry.site)}, ${variety}` : variety;
  }

  function shortName(entry) {
    if (entry.site) return siteName(entry.site).split(" · ").slice(-2).join(" · ");
    return varietyNames(varietyOf(entry.variety ?? entry.code, entry))[0];
  }

  new ResizeObserver(draw).observe(svg);
  return {
    setInfo,
    setHits: (wanted) => {
      hits = wanted;
      draw();
    },
    select: (id) => {
      selected = id;
      draw();
    },
    relabel: draw,
  };
}

/**
 * Writes names beside, below or above their places where they cover neither a place nor another
 * name; a name without room is left to the tooltip, unless its place is selected.
 */
function nameApart(drawn, { width, height }) {
  const box = (x, y, wide, tall) => ({ left: x, right: x + wide, top: y, bottom: y + tall });
  const taken = drawn.map(({ x, y, radius }) => box(x - radius, y - radius, radius * 2, radius * 2));
  const isFree = (wanted) =>
    wanted.left >= 2 && wanted.right <= width - 2 && wanted.top >= 2 && wanted.bottom <= height - 20 &&
    taken.every((each) => wanted.right < each.left || wanted.left > each.right || wanted.bottom < each.top || wanted.top > each.bottom);
  for (const { element, x, y, radius, name, order } of [...drawn].sort((a, b) => b.order - a.order)) {
    // A Chinese character is as wide as it is tall, a Latin one about half.
    const wide = [...name].reduce((sum, letter) => sum + (letter > "\u2e7f" ? 14.5 : 8.4), 0);
    const gap = radius + 10;
    const spots = [
      box(x + gap, y - 9, wide, 18),
      box(x - gap - wide, y - 9, wide, 18),
      box(x - wide / 2, y + gap, wide, 18),
      box(x - wide / 2, y - gap - 18, wide, 18),
    ];
    // The selected place is named even where its name covers others: outwards, where fewer are.
    const spot = spots.find(isFree) ?? (order ? spots[x > width / 2 ? 0 : 1] : null);
    if (!spot) continue;
    taken.push(spot);
    const middle = (spot.left + spot.right) / 2;
    element.append(makeSvg("text", { x: middle, y: spot.top + 14, class: "name" }, name));
  }
}

/** The window that holds all entries: lengths are true to each other at its middle latitude. */
function viewOf(entries, width, height) {
  const latitudes = entries.map((entry) => entry.latitude);
  const longitudes = entries.map((entry) => entry.longitude);
  const [south, north] = [Math.min(...latitudes), Math.max(...latitudes)];
  const [west, east] = [Math.min(...longitudes), Math.max(...longitudes)];
  const middle = { latitude: (south + north) / 2, longitude: (west + east) / 2 };
  const narrowing = Math.max(0.2, Math.cos((middle.latitude * Math.PI) / 180));
  const tall = Math.max(LEAST_SPAN, north - south);
  const wide = Math.max(LEAST_SPAN, east - west) * narrowing;
  const scale = Math.min(Math.max(60, height - ROOM.down) / tall, Math.max(60, width - ROOM.across) / wide);
  const x = (longitude) => width / 2 + (longitude - middle.longitude) * narrowing * scale;
  const y = (latitude) => height / 2 - (latitude - middle.latitude) * scale;
  return {
    width,
    height,
    x,
    y,
    at: (entry) => [x(entry.longitude), y(entry.latitude)],
    west: middle.longitude - width / 2 / scale / narrowing,
    east: middle.longitude + width / 2 / scale / narrowing,
    south: middle.latitude - height / 2 / scale,
    north: middle.latitude + height / 2 / scale,
  };
}

function background(view) {
  const path = (line, close) => {
    const points = [];
    for (let i = 0; i < line.length; i += 2) {
      points.push(`${view.x(line[i]).toFixed(1)} ${view.y(line[i + 1]).toFixed(1)}`);
    }
    return `M${points.join("L")}${close ? "Z" : ""}`;
  };
  const land = makeSvg("path", { class: "land", d: LAND.map((line) => path(line, true)).join("") });
  const rivers = makeSvg("path", { class: "river", d: RIVERS.map((line) => path(line, false)).join("") });
  return [land, rivers, ...graticule(view)];
}

function graticule(view) {
  const { width, height } = view;
  const span = Math.max(view.north - view.south, view.east - view.west);
  const step = [2, 5, 10, 20, 30].find((each) => span / each <= 8) ?? 45;
  const drawn = [];
  for (let at = Math.ceil(view.west / step) * step; at <= view.east; at += step) {
    const x = view.x(at);
    drawn.push(makeSvg("line", { x1: x, x2: x, y1: 0, y2: height, class: "degree" }));
    if (x > 40 && x < width - 40) {
      drawn.push(makeSvg("text", { x, y: height - 7, class: "degree-name" }, degrees(at, "E", "W")));
    }
  }
  for (let at = Math.ceil(view.south / step) * step; at <= view.north; at += step) {
    const y = view.y(at);
    drawn.push(makeSvg("line", { x1: 0, x2: width, y1: y, y2: y, class: "degree" }));
    if (y > 20 && y < height - 24) {
      drawn.push(makeSvg("text", { x: 20, y: y - 5, class: "degree-name" }, degrees(at, "N", "S")));
    }
  }
  return drawn;
}

function degrees(value, positive, negative) {
  return value === 0 ? "0°" : `${Math.abs(value)}°${value > 0 ? positive : negative}`;
}
