// Elements, addresses and numbers. Every text becomes a text node: nothing that a run directory holds is read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties that begin with "on" are listeners, `class` and `data-`/`aria-` are attributes. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// The folder itself is called ".", which an address cannot hold.
const quoted = (name) => (name === "." ? "" : name.split("/").map(encodeURIComponent).join("/"));
export const runAddress = (name) => `/run/${quoted(name)}`;
export const layersAddress = (name) => `/layers/${quoted(name)}`;
export const fileAddress = (run, file) => `/file/${quoted(run === "." ? file.path : `${run}/${file.path}`)}?v=${file.stamp ?? 0}`;
/** The rest of this page's address after a prefix, as a name. */
export const nameFrom = (prefix) => location.pathname.slice(prefix.length).split("/").map(decodeURIComponent).join("/") || ".";
/** Fills an element, unless it holds what the same key made: a part that has the focus keeps it. */
export function fill(element, key, ...children) {
  const text = JSON.stringify(key);
  if (element.made === text) return;
  element.made = text;
  element.replaceChildren(...children.flat(9).filter(Boolean));
}

/** What the server says, or null where it has nothing of that name, or is gone. */
export async function ask(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
export const askRun = (name) => ask(`/api${runAddress(name)}`);
export const askLayers = (name) => ask(`/api${layersAddress(name)}`);

/** A number as a person reads it. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en").replace("-", "−");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [part, power] = value.toExponential(Math.max(digits - 2, 0)).split("e");
    return `${Number(part)}e${Number(power)}`.replaceAll("-", "−");
  }
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}
export const decibels = (value) => (value === undefined || value === null ? "–" : `${value.toFixed(1)} dB`);
export const FIGURES = {
  psnr: { name: "PSNR", text: decibels, better: "higher" },
  ssim: { name: "SSIM", text: (value) => (value === undefined ? "–" : value.toFixed(3)), better: "higher" },
  normalized_feature_error: { name: "Feature error", text: (value) => number(value, 2), better: "lower" },
};

/** The name of a figure of run.json in words. */
export function figureName(name) {
  const words = { seconds: "Time (s)", steps_per_second: "Steps per second", peak_memory_mb: "Peak memory (MB)", mv2015_error: "Error of M & V 2015", mv2016_error: "Error of M & V 2016", l2_change: "Change (L2)",
    findings: "Mistakes that give the port's numbers", differences: "The port beside the reference", rows: "Each layer, image and way", sides: "Each side",
    gflop_per_step: "GFLOP per step", psnr_between: "PSNR between the two (dB)", seconds_to_first_step: "Time to the first step (s)", loss_gap_first_50_steps: "Loss gap, first 50 steps",
    psnr_mean_image: "PSNR of the mean image (dB)", psnr_gain: "PSNR above the mean image (dB)", onnx_difference: "Difference of decoder.onnx", steps_to_psnr: "Steps to the PSNR of optimization", steps_to_feature_loss: "Steps to its feature loss" };
  if (FIGURES[name]) return FIGURES[name].name;
  const text = words[name] ?? name.replaceAll("_", " ");
  return /\d/.test(name) && !words[name] ? name : text.charAt(0).toUpperCase() + text.slice(1); // a layer keeps its name
}

export function bytes(size) {
  const unit = size < 1000 ? 0 : size < 1e6 ? 1 : size < 1e9 ? 2 : 3;
  return `${number(size / 1000 ** unit, 3)} ${["B", "kB", "MB", "GB"][unit]}`;
}

/** "5 minutes ago", from seconds since 1970. */
export function ago(seconds) {
  const age = Math.max(Date.now() / 1000 - seconds, 0);
  const [size, name] = age < 60 ? [1, "second"] : age < 3600 ? [60, "minute"] : age < 86400 ? [3600, "hour"] : [86400, "day"];
  if (age < 10) return "now";
  return new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" }).format(-Math.floor(age / size), name);
}

/** What a run is about in a few words: its layers, or what else it does. */
export function title(card) {
  if (card.layers.length && ["invert", "decode"].includes(card.experiment)) return card.layers.join(" + ");
  return card.experiment.replaceAll("_", " ");
}
export const fileName = (path) => path.split("/").pop();
/** An image's name without the folder it lies in. */
export const imageName = (card) => card.image.split(", ").map((path) => fileName(path)).join(", ");

/** How a run stands, as a dot and a word. */
export function stateLabel(card) {
  const part = card.state === "running" && card.steps && card.step !== null ? ` ${Math.round((100 * card.step) / card.steps)} %` : "";
  return h("span", { class: `state ${card.state}` }, card.state + part);
}

/** A table in a part of the page that scrolls sideways by itself. */
export function table(caption, head, rows) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {},
      head.length > 0 && h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))),
      h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell)))))));
}

/** Buttons of which one is pressed. */
export function choice(label, options, chosen, onchange) {
  const buttons = Object.entries(options).map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": String(value === chosen), onclick: (event) => {
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === event.currentTarget)));
      onchange(value);
    } }, text));
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

/** Calls a function at most once in so many milliseconds, and once more where it was wanted while it ran. */
export function calmly(milliseconds, callback) {
  let busy = false, again = false, last = 0;
  return function call() {
    if (busy) { again = true; return; }
    busy = true;
    setTimeout(async () => {
      again = false;
      last = Date.now();
      try { await callback(); } finally { busy = false; if (again) call(); }
    }, Math.max(last + milliseconds - Date.now(), 0));
  };
}
