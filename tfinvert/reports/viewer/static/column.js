// The column of layers: each as a block as wide as its image is large and as high as it has channels, with what it keeps.

import { FIGURES, fileAddress, h, s } from "./dom.js";

const ROW = 52, GRAPH = 96, MIDDLE = 58, WIDEST = 64; // pixels

/** { element, update(sweep, metric), mark(layer), measure(metric) }; calls onchoose(layer name). */
export function makeColumn(onchoose, index) {
  const list = h("div", { class: "layers", role: "listbox", "aria-label": index ? "Layers of the second network" : "Layers", tabindex: 0 });
  const graph = s("svg", { class: "graph", "aria-hidden": "true", preserveAspectRatio: "none" });
  const scroller = h("div", { class: "scroller" }, graph, list);
  const title = h("h2", { class: "column-title" });
  const element = h("div", { class: `column ${index ? "right" : ""}` }, title, scroller);
  const rows = new Map();
  let sweep = null, chosen = null, metric = "psnr", drawn = "";

  list.addEventListener("keydown", (event) => {
    const names = sweep.runs.map((run) => run.layer.name), place = names.indexOf(chosen);
    const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: names.length - 1, PageDown: place + 5, PageUp: place - 5 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    onchoose(names[Math.min(Math.max(moves[event.key], 0), names.length - 1)]);
  });

  function measure(next = metric) {
    metric = next;
    const values = sweep.runs.map((run) => run.figures[metric]).filter(Number.isFinite);
    const top = Math.max(...values, 1e-9);
    for (const run of sweep.runs) {
      const { bar, figure } = rows.get(run.layer.name), value = run.figures[metric];
      bar.style.width = Number.isFinite(value) ? `${Math.max((100 * Math.max(value, 0)) / top, 1)}%` : "0";
      figure.textContent = FIGURES[metric].text(value);
    }
  }

  function makeRow(run) {
    const image = h("img", { alt: "", width: 44, height: 44, loading: "lazy" });
    const bar = h("span"), figure = h("span", { class: "value" }), shape = h("span", { class: "shape" });
    const row = h("div", { class: "layer", role: "option", "aria-selected": "false", id: `layer-${index}-${rows.size}`, onclick: () => { list.focus({ preventScroll: true }); onchoose(run.layer.name); } },
      h("span", { class: "name" }, run.layer.name), shape, h("span", { class: "bar" }, bar), figure, image);
    return { row, image, bar, figure, shape };
  }

  return {
    element,
    measure,
    update(next, shown) {
      sweep = next;
      metric = shown;
      title.textContent = sweep.network;
      const names = new Set(sweep.runs.map((run) => run.layer.name));
      for (const [name, { row }] of rows) if (!names.has(name)) { row.remove(); rows.delete(name); }
      sweep.runs.forEach((run, place) => {
        if (!rows.has(run.layer.name)) rows.set(run.layer.name, makeRow(run));
        const entry = rows.get(run.layer.name);
        entry.shape.textContent = (run.layer.shape ?? []).join("×");
        entry.row.classList.toggle("running", run.state === "running");
        if (run.latest) {
          const address = fileAddress(run.name, run.latest);
          if (entry.image.getAttribute("src") !== address) entry.image.src = address;
        }
        if (list.children[place] !== entry.row) list.insertBefore(entry.row, list.children[place] ?? null);
      });
      measure();
      const now = JSON.stringify(sweep.runs.map((run) => [run.layer, run.reads]));
      if (now !== drawn) drawGraph(graph, sweep);
      drawn = now;
    },
    mark(layer) {
      const moved = chosen !== layer;
      chosen = layer;
      for (const [name, { row }] of rows) row.setAttribute("aria-selected", String(name === layer));
      const row = rows.get(layer)?.row;
      list.setAttribute("aria-activedescendant", row?.id ?? "");
      for (const block of graph.querySelectorAll(".block")) block.classList.toggle("chosen", block.dataset.layer === layer);
      if (row && moved) scroller.scrollTo({ top: row.offsetTop - scroller.clientHeight / 2 + ROW / 2, behavior: "auto" });
    },
  };
}

/** Blocks and, where it is known, which layer reads which: straight on, or in an arc past those between. */
function drawGraph(graph, sweep) {
  const { runs } = sweep, places = new Map(runs.map((run, place) => [run.layer.name, place]));
  graph.setAttribute("height", runs.length * ROW);
  graph.setAttribute("viewBox", `0 0 ${GRAPH} ${runs.length * ROW}`);
  graph.replaceChildren();
  const y = (place) => (place + 0.5) * ROW;
  const side = (run) => (run.layer.shape?.length === 3 ? run.layer.shape[0] : 1), channels = (run) => run.layer.shape?.at(-1) ?? 1;
  const largest = Math.max(...runs.map(side), 2);
  const width = (run) => 8 + (WIDEST - 8) * Math.sqrt(side(run) / largest);
  const height = (run) => 5 + 3 * Math.log2(Math.max(channels(run), 1) / 2 + 1);
  runs.forEach((run, place) => {
    const reads = sweep.connected ? run.reads.map((name) => places.get(name)).filter((from) => from !== undefined && from < place) : place ? [place - 1] : [];
    for (const from of reads) {
      const bend = place - from === 1 ? 0 : Math.min(MIDDLE - 6, 30 + 7 * (place - from));
      graph.append(s("path", { class: bend ? "edge skip" : "edge", d: bend
        ? `M${MIDDLE - width(runs[from]) / 2} ${y(from)}C${MIDDLE - bend} ${y(from)},${MIDDLE - bend} ${y(place)},${MIDDLE - width(run) / 2} ${y(place)}`
        : `M${MIDDLE} ${y(from)}V${y(place)}` }));
    }
  });
  for (const [place, run] of runs.entries()) {
    const block = s("rect", { class: "block", x: MIDDLE - width(run) / 2, y: y(place) - height(run) / 2, width: width(run), height: height(run), rx: 3 });
    block.dataset.layer = run.layer.name;
    graph.append(block);
  }
}
