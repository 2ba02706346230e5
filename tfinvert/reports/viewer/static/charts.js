// Charts as SVG, drawn at the width that they have.

import { h, s, number } from "./dom.js";

const LEFT = 52, RIGHT = 10, TOP = 10, BOTTOM = 26, HEIGHT = 210;
const COLORS = 6;

/** Round numbers between two others. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  return found;
}

function logTicks(low, high) {
  if (high / low < 200) return logSteps(low, high);
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const part = Math.max(Math.ceil((last - first) / 5), 1);
  const powers = [];
  for (let power = first; power <= last; power += part) powers.push(10 ** power);
  const inside = powers.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  if (inside.length > 1) return inside;
  return ticks(low, high, 3).filter((value) => value > 0);
}

/** 1, 2 and 5 times powers of ten; where that is not enough, other numbers. */
function logSteps(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const part of [1, 2, 5]) if (part * 10 ** power >= low * 0.999 && part * 10 ** power <= high * 1.001) found.push(part * 10 ** power);
  }
  return found.length > 1 ? found : ticks(low, high, 3).filter((value) => value > 0);
}

/**
 * Curves: { element, update(series), mark(...x) }.
 *
 * series: [{ label, points: [[x, y], ...] }]; a point may have a name, [x, y, name], where x is no step. Options: log, for
 * values that are positive; onpick(x); dots; unit.
 */
export function chart(title, { log = false, onpick = null, dots = false, unit = "" } = {}) {
  const drawing = s("svg", { class: "drawing", "aria-hidden": "true" });
  const readout = h("span", { class: "readout" });
  const legend = h("ul", { class: "keys" });
  const element = h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, title), readout), drawing, legend, h("p", { class: "heard" }));
  let series = [], marked = [], scale = null, hover = null;

  function draw() {
    const width = Math.max(drawing.clientWidth || element.clientWidth || 480, 160);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.replaceChildren();
    scale = null;
    const wanted = (y) => Number.isFinite(y) && (!scaleIsLog || y > 0);
    const all = series.flatMap(({ points }) => points.map(([, y]) => y)).filter(Number.isFinite);
    const scaleIsLog = log && all.some((y) => y > 0);
    const values = all.filter(wanted), places = series.flatMap(({ points }) => points.map(([x]) => x));
    if (!values.length) {
      drawing.append(s("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "nothing yet"));
      return;
    }
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (scaleIsLog) [low, high] = low === high ? [low / 2, high * 2] : [low, high];
    else { const margin = (high - low || Math.abs(high) || 1) * 0.06; [low, high] = [low - margin, high + margin]; }
    const [first, last] = [Math.min(...places), Math.max(...places)];
    const toX = (x) => LEFT + (last === first ? 0.5 : (x - first) / (last - first)) * (width - LEFT - RIGHT);
    const part = (y) => (scaleIsLog ? Math.log(y / low) / Math.log(high / low) : (y - low) / (high - low));
    const toY = (y) => TOP + (1 - part(y)) * (HEIGHT - TOP - BOTTOM);
    scale = { toX, first, last, width, places: [...new Set(places)].sort((a, b) => a - b) };

    for (const value of scaleIsLog ? logTicks(low, high) : ticks(low, high, 4)) {
      drawing.append(s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: toY(value), y2: toY(value) }),
        s("text", { x: LEFT - 7, y: toY(value) + 4, "text-anchor": "end" }, number(value, 3)));
    }
    const named = series[0].points.filter((point) => point.length > 2);
    const across = named.length ? named.map(([x]) => x).filter((x, index) => index % Math.ceil(named.length / (width / 70)) === 0)
      : ticks(first, last, Math.max(Math.floor(width / 110), 2)).filter((x) => Number.isInteger(x));
    for (const x of across) {
      const text = named.find(([place]) => place === x)?.[2] ?? number(x);
      drawing.append(s("text", { x: toX(x), y: HEIGHT - 7, "text-anchor": toX(x) > width - 24 ? "end" : "middle" }, text));
    }
    series.forEach(({ points }, index) => {
      const shown = points.filter(([, y]) => wanted(y)).map(([x, y]) => [toX(x), toY(y)]);
      const style = `c${index % COLORS} d${Math.floor(index / COLORS) % 3}`;
      if (shown.length > 1) drawing.append(s("path", { class: `curve ${style}`, d: `M${shown.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}` }));
      if (dots || shown.length === 1) shown.forEach(([x, y]) => drawing.append(s("circle", { class: `dot ${style}`, cx: x, cy: y, r: 3.5 })));
    });
    for (const [x, name, owner] of [...marked.map((x, at) => [x, "mark", at]), [hover, "hover"]]) {
      if (x === null || x < first || x > last) continue;
      drawing.append(s("line", { class: name, x1: toX(x), x2: toX(x), y1: TOP - 4, y2: HEIGHT - BOTTOM }));
      series.forEach(({ points }, index) => {
        const point = points.find(([place]) => place === x);
        if (point && wanted(point[1]) && (name === "hover" || isOwn(owner, index))) drawing.append(s("circle", { class: `at c${index % COLORS}`, cx: toX(x), cy: toY(point[1]), r: 5 }));
      });
    }
    say(hover);
  }

  /** Whether a mark is a curve's own: where there is one for each curve. */
  function isOwn(mark, index) { return marked.length !== series.length || mark === index; }

  /** Writes the values at a place; where it is null, at the marks. */
  function say(x) {
    const places = x === null ? marked : [x];
    const found = places.flatMap((place, mark) => series.filter((_, index) => x !== null || isOwn(mark, index))
      .map(({ label, points }) => ({ label, point: points.find(([at]) => at === place) }))).filter(({ point }) => point);
    const several = series.length > 1;
    const parts = found.slice(0, 4).map(({ label, point: [, y, name] }) => `${name ? `${name} ` : ""}${several ? `${name ? `(${label})` : label} ` : ""}${number(y)}${unit}`);
    readout.textContent = parts.length ? `${found[0].point.length > 2 ? "" : `step ${number(places[0])}: `}${parts.join(", ")}` : "";
  }

  function nearest(event) {
    if (!scale) return null;
    const box = drawing.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * scale.width;
    return scale.places.reduce((best, x) => (Math.abs(scale.toX(x) - at) < Math.abs(scale.toX(best) - at) ? x : best), scale.places[0]);
  }
  drawing.addEventListener("pointermove", (event) => { const x = nearest(event); if (x !== hover) { hover = x; draw(); } });
  drawing.addEventListener("pointerleave", () => { hover = null; draw(); });
  if (onpick) drawing.addEventListener("click", (event) => { const x = nearest(event); if (x !== null) onpick(x); });
  drawing.classList.toggle("picks", Boolean(onpick));
  new ResizeObserver(draw).observe(element);

  return {
    element,
    update(next) {
      series = next;
      legend.replaceChildren(...(series.length > 1 ? series.map(({ label }, index) => h("li", {}, h("span", { class: `swatch c${index % COLORS} d${Math.floor(index / COLORS) % 3}` }), label)) : []));
      element.querySelector(".heard").textContent = series.map(({ label, points }) => {
        const whole = points.filter(([, y]) => Number.isFinite(y));
        return whole.length ? `${label}: from ${number(whole[0][1])} to ${number(whole.at(-1)[1])}${unit}.` : "";
      }).join(" ");
      draw();
    },
    /** Marks places, such as the step that is shown. */
    mark(...places) {
      const next = places.filter((x) => x !== null);
      if (String(next) !== String(marked)) { marked = next; draw(); }
    },
  };
}

/** The curves that lines of metrics.jsonl hold: terms of the loss, PSNR, learning rate. */
export function curvesOf(metrics, prefix = "") {
  const last = metrics.at(-1) ?? {};
  const other = ["step", "psnr", "learning_rate", "scale", "ssim"];
  const terms = Object.keys(last).filter((name) => !other.includes(name));
  const points = (name) => metrics.filter((line) => name in line).map((line) => [line.step, line[name]]);
  const same = terms.length === 2 && metrics.every((line) => line[terms[0]] === line[terms[1]]);
  return {
    loss: (same ? terms.slice(0, 1) : terms).map((name) => ({ label: prefix + name, points: points(name) })),
    psnr: "psnr" in last ? [{ label: `${prefix}PSNR`, points: points("psnr") }] : [],
    rate: "learning_rate" in last ? [{ label: `${prefix}learning rate`, points: points("learning_rate") }] : [],
  };
}
