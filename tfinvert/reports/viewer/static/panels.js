// Images that share one zoom, the signed difference of two of them, and the slider between two of them.

import { h } from "./dom.js";

const LARGEST = 24; // times
const dark = matchMedia("(prefers-color-scheme: dark)");
// From darker than the target over equal to brighter; the middle is the color of the page.
const SCALES = {
  light: [[33, 102, 172], [247, 247, 245], [178, 24, 43]],
  dark: [[96, 176, 255], [27, 27, 25], [255, 126, 84]],
};

/** What images have in common that are zoomed and moved together. */
export class Zoom {
  constructor() {
    Object.assign(this, { scale: 1, x: 0.5, y: 0.5, contents: new Set(), listeners: new Set() });
  }
  add(content) {
    this.contents.add(content);
    this.#apply(content);
  }
  /** Moves to a scale and a center, both in parts of the image. */
  to(scale, x = this.x, y = this.y) {
    this.scale = Math.min(Math.max(scale, 1), LARGEST);
    const margin = 0.5 / this.scale;
    this.x = Math.min(Math.max(x, margin), 1 - margin);
    this.y = Math.min(Math.max(y, margin), 1 - margin);
    for (const content of this.contents) content.isConnected || content.waiting ? this.#apply(content) : this.contents.delete(content);
    this.listeners.forEach((listener) => listener());
  }
  /** Zooms by a factor; the point (px, py) of the view, in parts of it, stays where it is. */
  by(factor, px = 0.5, py = 0.5) {
    const before = this.scale, scale = Math.min(Math.max(before * factor, 1), LARGEST);
    this.to(scale, this.x + (px - 0.5) * (1 / before - 1 / scale), this.y + (py - 0.5) * (1 / before - 1 / scale));
  }
  move(dx, dy) { this.to(this.scale, this.x - dx / this.scale, this.y - dy / this.scale); }
  #apply(content) {
    const { scale, x, y } = this;
    content.style.transform = `translate(${(0.5 - x * scale) * 100}%, ${(0.5 - y * scale) * 100}%) scale(${scale})`;
    content.classList.toggle("pixels", scale > 3);
    content.closest(".view")?.classList.toggle("zoomed", scale > 1);
  }
  /** Buttons for those who do not know the keys. */
  controls() {
    const level = h("output", { class: "level", "aria-label": "Zoom" }, "1×");
    this.listeners.add(() => { level.textContent = `${Math.round(this.scale * 10) / 10}×`; });
    const button = (text, label, action) => h("button", { type: "button", "aria-label": label, title: label, onclick: action }, text);
    return h("div", { class: "zoom", role: "group", "aria-label": "Zoom of all images" },
      button("−", "Zoom out", () => this.by(1 / 1.5)), level, button("+", "Zoom in", () => this.by(1.5)),
      button("Fit", "Show the whole image", () => this.to(1, 0.5, 0.5)));
  }
}

/** Makes a view answer pointer, wheel and keys. `ondrag` may take a drag of the unzoomed view: (x in parts of the width). */
function listen(view, zoom, ondrag = null) {
  const pointers = new Map();
  let apart = 0;
  const place = (event) => {
    const box = view.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  view.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, place(event));
    view.setPointerCapture(event.pointerId);
    if (zoom.scale === 1 && pointers.size === 1) ondrag?.(place(event)[0]);
  });
  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    pointers.set(event.pointerId, now);
    if (pointers.size === 2) {
      const [[ax, ay], [bx, by]] = pointers.values();
      const distance = Math.hypot(ax - bx, ay - by);
      if (apart) zoom.by(distance / apart, (ax + bx) / 2, (ay + by) / 2);
      apart = distance;
    } else if (zoom.scale === 1 && ondrag) ondrag(now[0]);
    else zoom.move(now[0] - before[0], now[1] - before[1]);
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, (event) => { pointers.delete(event.pointerId); apart = 0; });
  view.addEventListener("dblclick", (event) => (zoom.scale > 1 ? zoom.to(1, 0.5, 0.5) : zoom.by(4, ...place(event))));
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    zoom.by(Math.exp(-event.deltaY / 200), ...place(event));
  }, { passive: false });
  view.addEventListener("keydown", (event) => {
    const step = 0.15;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key === "+" || event.key === "=") zoom.by(1.5);
    else if (event.key === "-") zoom.by(1 / 1.5);
    else if (event.key === "0") zoom.to(1, 0.5, 0.5);
    else if (moves[event.key] && zoom.scale > 1) zoom.move(...moves[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function viewOf(label, contents) {
  return h("div", { class: "view", tabindex: 0, role: "group", "aria-label": `${label}; plus and minus zoom, arrow keys move` }, contents);
}

/** An image with its caption: { element, show(address, caption) }. A new image appears when it is whole. */
export function panel(label, zoom, alt = label) {
  const image = h("img", { class: "content", alt, draggable: "false" });
  const view = viewOf(label, [image]);
  const caption = h("figcaption", {}, label);
  listen(view, zoom);
  image.waiting = true;
  zoom.add(image);
  image.addEventListener("load", () => { fit(view, image); view.classList.remove("broken"); });
  image.addEventListener("error", () => view.classList.add("broken"));
  let asked = "";
  return {
    element: h("figure", { class: "panel" }, view, caption),
    image,
    show(address, text = label) {
      caption.replaceChildren(...[text].flat().map((part) => (typeof part === "string" ? part.replaceAll(" %", "\u00a0%") : part)));
      if (!address || address === asked) return;
      asked = address;
      const next = new Image();
      next.onload = next.onerror = () => { if (asked === address) image.src = address; };
      next.src = address;
    },
  };
}

function fit(view, image) {
  if (image.naturalWidth) view.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
}

const color = (value) => { // of a difference in [-1, 1]
  const [low, middle, high] = SCALES[dark.matches ? "dark" : "light"];
  const end = value < 0 ? low : high, part = Math.min(Math.abs(value), 1);
  return middle.map((channel, index) => channel + (end[index] - channel) * part);
};

/** The signed difference of two images, with its bar: { element, show(address, target, caption), range(value) }. */
export function difference(zoom, label = "Difference") {
  const canvas = h("canvas", { class: "content", width: 1, height: 1 });
  const view = viewOf(label, [canvas]);
  const bar = h("canvas", { class: "scale", width: 256, height: 1, "aria-hidden": "true" });
  const ends = [h("span"), h("span"), h("span")];
  const caption = h("figcaption", {}, label);
  listen(view, zoom);
  canvas.waiting = true;
  zoom.add(canvas);
  let pair = ["", ""], limit = 0.2, values = null;

  function draw() {
    const strip = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) strip.data.set([...color(i / 127.5 - 1), 255], 4 * i);
    bar.getContext("2d").putImageData(strip, 0, 0);
    [`−${limit}`, "0", `+${limit}`].forEach((text, index) => { ends[index].textContent = text; });
    if (!values) return;
    const table = new Uint8ClampedArray(3 * 511); // by the difference in levels of 1/255, from -255 on
    for (let level = -255; level <= 255; level++) table.set(color(level / 255 / limit), 3 * (level + 255));
    const shown = new ImageData(values.width, values.height);
    for (let i = 0; i < values.levels.length; i++) {
      const place = 3 * (values.levels[i] + 255);
      shown.data[4 * i] = table[place];
      shown.data[4 * i + 1] = table[place + 1];
      shown.data[4 * i + 2] = table[place + 2];
      shown.data[4 * i + 3] = 255;
    }
    canvas.width = values.width;
    canvas.height = values.height;
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(shown, 0, 0);
    view.style.aspectRatio = `${values.width} / ${values.height}`;
  }
  dark.addEventListener("change", draw);
  draw();
  return {
    element: h("figure", { class: "panel" }, view, caption, h("div", { class: "legend" }, bar, h("div", { class: "ends" }, ends))),
    range(value) { limit = value; draw(); },
    async show(address, target, text = label) {
      caption.textContent = text;
      if (!address || !target || (pair[0] === address && pair[1] === target)) return;
      const asked = (pair = [address, target]);
      const found = await Promise.all([pixels(address), pixels(target)]);
      if (asked !== pair) return; // another image has been asked for since
      const [first, second] = found;
      values = null;
      if (first && second && first.width === second.width && first.height === second.height) {
        const levels = new Int16Array(first.width * first.height);
        for (let i = 0; i < levels.length; i++) {
          const j = 4 * i, a = first.data, b = second.data;
          levels[i] = Math.round((a[j] - b[j] + a[j + 1] - b[j + 1] + a[j + 2] - b[j + 2]) / 3);
        }
        values = { width: first.width, height: first.height, levels };
      }
      view.classList.toggle("broken", !values);
      draw();
    },
  };
}

const kept = new Map();
/** The pixels of an image; null where it cannot be read. The last few are kept. */
async function pixels(address) {
  if (kept.has(address)) return kept.get(address);
  const image = new Image();
  image.src = address;
  try {
    await image.decode();
  } catch {
    return null;
  }
  const side = Math.min(1, 1024 / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = h("canvas", { width: Math.round(image.naturalWidth * side), height: Math.round(image.naturalHeight * side) });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const data = context.getImageData(0, 0, canvas.width, canvas.height);
  kept.set(address, data);
  if (kept.size > 8) kept.delete(kept.keys().next().value);
  return data;
}

/** A slider between two images: { element, show(before, after) }. */
export function slider(zoom, names = ["Target", "Image"]) {
  const [before, after] = names.map((name) => h("img", { class: "content", alt: name, draggable: "false" }));
  const top = h("div", { class: "over" }, before);
  const line = h("div", { class: "line", "aria-hidden": "true" });
  const tags = names.map((name, index) => h("span", { class: index ? "tag right" : "tag" }, name));
  const view = viewOf(`${names[0]} on the left, ${names[1]} on the right`, [after, top, line, tags]);
  const input = h("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": `How much of ${names[0].toLowerCase()} is shown` });
  const set = (value) => {
    input.value = value;
    top.style.clipPath = `inset(0 ${100 - value}% 0 0)`;
    line.style.left = `${value}%`;
  };
  input.addEventListener("input", () => set(Number(input.value)));
  listen(view, zoom, (x) => set(Math.min(Math.max(100 * x, 0), 100)));
  for (const image of [before, after]) {
    image.waiting = true;
    zoom.add(image);
    image.addEventListener("load", () => fit(view, image));
  }
  set(50);
  return {
    element: h("figure", { class: "panel wide" }, view, input),
    show(first, second) {
      if (first && before.getAttribute("src") !== first) before.src = first;
      if (second && after.getAttribute("src") !== second) after.src = second;
    },
  };
}

/** A choice of the range of difference images. */
export function rangeChoice(differences, chosen = 0.2) {
  differences.forEach((each) => each.range(chosen));
  const select = h("select", { "aria-label": "Range of the differences", onchange: () => differences.forEach((each) => each.range(Number(select.value))) },
    [0.5, 0.2, 0.05, 0.02].map((value) => h("option", { value, selected: value === chosen }, `±${value}`)));
  return h("label", { class: "inline" }, "Difference ", select);
}
