// Contrasts of the page by the formula of WCAG 2: read by tests/search/server/test_page.py.
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = parse(colour).slice(0, 3).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parse(colour)[3] > 252) return colour;
    }
    return "#ffffff";
  };

  // Text that cannot be seen, that is switched off, or that lies on a drawing is no matter here.
  const apart = ".unseen, .skip, option, svg, label:has(:disabled), noscript";
  const weak = [];
  for (const element of document.body.querySelectorAll("*")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || element.getBoundingClientRect().width < 2 || element.closest(apart)) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = ratio(style.color, ground(element));
    if (found < (large ? 3 : 4.5)) {
      weak.push(`${element.tagName}.${element.className}: ${found.toFixed(2)}`);
    }
  }

  const fill = (root, selector) => getComputedStyle(root.querySelector(selector)).fill;
  const places = [...document.querySelectorAll("#map .hit-place")];
  if (places.length === 0) return { weak };
  const land = fill(document, "#map .land");
  return {
    weak,
    dots: places.map((place) => ratio(fill(place, ".dot"), land)),
    counts: places.map((place) => ratio(fill(place, ".count"), fill(place, ".dot"))),
    names: ratio(fill(document, "#map .name"), land),
    degrees: ratio(fill(document, "#map .degree-name"), ground(document.querySelector("#map"))),
  };
})();
