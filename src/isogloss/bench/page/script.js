"use strict";
// Similarity maps: the pixel under the pointer, read back from the picture, as a cosine.
(() => {
  const palette = JSON.parse(document.getElementById("palette").textContent);
  const places = new Map(palette.map((rgb, place) => [rgb.join(), place]));
  for (const figure of document.querySelectorAll("figure.map")) {
    const image = figure.querySelector("image");
    const output = figure.querySelector("output");
    const resting = output.textContent;
    const [width, height] = [Number(figure.dataset.width), Number(figure.dataset.height)];
    const [across, down] = [Number(figure.dataset.across), Number(figure.dataset.down)];
    const [low, high] = [Number(figure.dataset.low), Number(figure.dataset.high)];
    let pixels = null;
    const load = () => {
      const picture = new Image();
      picture.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = width;
        canvas.height = height;
        const context = canvas.getContext("2d");
        context.drawImage(picture, 0, 0);
        pixels = context.getImageData(0, 0, width, height).data;
      };
      picture.src = image.getAttribute("href");
    };
    image.addEventListener("pointerenter", load, { once: true });
    image.addEventListener("pointermove", (event) => {
      if (!pixels) return;
      const box = image.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * height);
      if (x < 0 || y < 0 || x >= width || y >= height) return;
      const at = 4 * (y * width + x);
      const place = places.get([pixels[at], pixels[at + 1], pixels[at + 2]].join());
      if (place === undefined) return;
      const level = low + Math.round((place / 255) * Math.max(1, high - low));
      const seconds = (index, count, total) => (((index + 0.5) / count) * total).toFixed(2);
      output.textContent =
        `query ${seconds(y, height, down)} s, answer ${seconds(x, width, across)} s: ` +
        `cosine ${(level / 127.5 - 1).toFixed(2)}`;
    });
    image.addEventListener("pointerleave", () => { output.textContent = resting; });
  }
  // One recording at a time.
  document.addEventListener("play", (event) => {
    for (const player of document.querySelectorAll("audio")) {
      if (player !== event.target) player.pause();
    }
  }, true);
})();
