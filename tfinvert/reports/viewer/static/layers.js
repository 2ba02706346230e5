// The layer browser: a network as a column of layers, and what the chosen one keeps of the image.

import { FIGURES, ask, askLayers, calmly, choice, fileAddress, fill, h, imageName, layersAddress, nameFrom, number, runAddress } from "./dom.js";
import { chart } from "./charts.js";
import { makeColumn } from "./column.js";
import { onChange } from "./live.js";
import { Zoom, difference, panel, rangeChoice, slider } from "./panels.js";

const NAMES = ["first", "second"];

export function showLayers(main) {
  const asked = new URLSearchParams(location.search);
  const zoom = new Zoom();
  let metric = FIGURES[asked.get("figure")] ? asked.get("figure") : "psnr";
  const head = h("div", { class: "top run" }), note = h("p", { class: "empty", hidden: true });
  const beside = h("select", { "aria-label": "A second column" });
  const depth = chart("By depth", { dots: true, onpick: (x) => pick(x) });
  const sides = NAMES.map((word, index) => makeSide(zoom, index, () => { write(); drawDepth(); }));
  const [first, second] = sides;
  first.name = nameFrom("/layers/");
  first.wanted = asked.get("layer");
  second.name = asked.get("beside");
  second.wanted = asked.get("other");

  const metrics = choice("The figure that bars and curve show", Object.fromEntries(Object.entries(FIGURES).map(([key, { name }]) => [key, name])), metric, (key) => {
    metric = key;
    sides.filter((side) => side.sweep).forEach((side) => side.column.measure(metric));
    drawDepth();
    write();
  });
  const modes = choice("How the images are shown", { side: "Side by side", slider: "Slider" }, "side", (mode) => sides.forEach((side) => side.mode(mode)));
  const stage = h("div", { class: "stages" },
    h("div", { class: "tools" }, modes, zoom.controls(), rangeChoice(sides.map((side) => side.signed), 0.5),
      h("label", { class: "inline" }, "Beside ", beside)),
    sides.map((side) => side.stage), h("div", { class: "tools" }, metrics), depth.element);
  const room = h("div", { class: "browser" }, first.column.element, stage, second.column.element);
  main.append(head, note, room);
  room.hidden = true;

  beside.addEventListener("change", () => {
    second.name = beside.value || null;
    second.wanted = null;
    second.clear();
    if (second.name === first.name) second.wanted = first.following();
    refresh();
  });

  function pick(x) { // of the network that has a layer there
    const side = sides.find(({ sweep }) => sweep?.runs.some((run, index) => index / Math.max(sweep.runs.length - 1, 1) === x));
    if (side) side.choose(side.sweep.runs[Math.round(x * (side.sweep.runs.length - 1))].layer.name);
  }
  function write() {
    const query = new URLSearchParams({ layer: first.chosen ?? "", ...(metric === "psnr" ? {} : { figure: metric }), ...(second.sweep ? { beside: second.name, other: second.chosen ?? "" } : {}) });
    history.replaceState(null, "", `${layersAddress(first.name)}?${query}`);
  }
  function drawDepth() {
    const shown = sides.filter((side) => side.sweep);
    const one = shown.length < 2 || shown[0].name === shown[1].name;
    // Two networks have different numbers of layers: both curves begin at the left and end at the right.
    const place = (side, index) => index / Math.max(side.sweep.runs.length - 1, 1);
    depth.update((one ? shown.slice(0, 1) : shown).map((side) => ({
      label: `${side.sweep.network}${one ? "" : `, ${imageName(side.sweep)}`}`,
      points: side.sweep.runs.map((run, index) => [place(side, index), run.figures[metric] ?? NaN, run.layer.name]),
    })));
    depth.element.querySelector("strong").textContent = `${FIGURES[metric].name} by depth`;
    depth.mark(...shown.map((side) => place(side, side.sweep.runs.findIndex((run) => run.layer.name === side.chosen))));
  }

  const refresh = calmly(400, async () => {
    const [found, other, all] = await Promise.all([askLayers(first.name), second.name ? (second.name === first.name ? askLayers(first.name) : askLayers(second.name)) : null, ask("/api/sweeps")]);
    note.hidden = found !== null;
    if (!found) {
      if (!first.sweep) head.replaceChildren(h("h1", {}, "No such sweep"));
      note.textContent = first.sweep ? "This sweep is gone. What is shown is what it was." : `There are no inversions of several layers in ${first.name}.`;
      return;
    }
    room.hidden = false;
    document.title = `The layers of ${found.network} – tfinvert`;
    fill(head, [found.name, found.network, found.image, found.runs.length, found.running, found.weights], h("p", { class: "crumbs" }, h("a", { href: "/" }, "Runs"), " / ", found.name),
      h("h1", {}, `What the layers of ${found.network} keep`),
      h("p", { class: "about" }, `${imageName(found)} · ${found.runs.length} layers${found.running ? " · running" : ""}`),
      h("p", { class: "faint" }, `weights: ${found.weights}`));
    const names = [["", "nothing"], [first.name, "another layer of this network"], ...(all?.sweeps ?? []).filter((sweep) => sweep.name !== first.name).map((sweep) => [sweep.name, `${sweep.network}, ${imageName(sweep)} (${sweep.name})`])];
    fill(beside, [names, second.name], names.map(([value, text]) => h("option", { value, selected: value === (second.name ?? "") }, text)));
    first.update(found, metric);
    if (other) second.update(other, metric);
    room.classList.toggle("two", Boolean(other));
    drawDepth();
    write();
  });
  onChange((changed) => {
    const mine = (side) => side.name && (side.name === "." || !side.sweep || changed(`${side.name}/`) || side.sweep.runs.some((run) => changed(run.name)));
    if (sides.some(mine)) refresh();
  });
  setInterval(refresh, 20000);
  refresh();
}

/** A column and the images of its chosen layer. */
function makeSide(zoom, index, onchoose) {
  const target = panel("Target", zoom), image = panel("Image", zoom), signed = difference(zoom), between = slider(zoom, ["Target", "What it keeps"]);
  const trio = h("div", { class: "panels" }, target.element, image.element, signed.element), pair = h("div", { class: "panels", hidden: true }, between.element);
  const heading = h("div", { class: "layer-head", role: "status" });
  const side = {
    sweep: null, chosen: null, wanted: null, signed,
    stage: h("section", { class: `stage ${NAMES[index]}`, "aria-label": index ? "Second layer" : "Layer", hidden: true }, heading, trio, pair),
    column: makeColumn((layer) => side.choose(layer), index),
    mode(mode) {
      trio.hidden = mode === "slider";
      pair.hidden = mode !== "slider";
      zoom.to(zoom.scale);
    },
    clear() {
      side.sweep = side.chosen = null;
      side.stage.hidden = side.column.element.hidden = true;
    },
    /** The layer after the chosen one, to be compared with it. */
    following() {
      const place = side.sweep.runs.findIndex((run) => run.layer.name === side.chosen);
      return side.sweep.runs[Math.min(place + 3, side.sweep.runs.length - 1)]?.layer.name;
    },
    update(sweep, metric) {
      side.sweep = sweep;
      side.stage.hidden = side.column.element.hidden = false;
      side.column.update(sweep, metric);
      const names = sweep.runs.map((run) => run.layer.name);
      const layer = [side.chosen, side.wanted, names[Math.floor(names.length / 2)]].find((name) => names.includes(name));
      side.choose(layer, false);
    },
    choose(layer, tell = true) {
      side.chosen = layer;
      side.column.mark(layer);
      const run = side.sweep.runs.find((each) => each.layer.name === layer);
      if (!run) return;
      const { shape, stride, receptive_field: field } = run.layer;
      const facts = [shape && `${shape.join(" × ")} = ${number(shape.reduce((a, b) => a * b, 1))} values`, stride && `stride ${stride[0]}`, field ? `each value sees ${field.join(" × ")} pixels` : "each value sees the whole image"];
      fill(heading, [run.name, run.layer, run.figures], h("h2", {}, layer, index ? h("span", { class: "faint" }, ` ${side.sweep.network}`) : ""),
        h("p", { class: "about" }, facts.filter(Boolean).join(" · ")),
        h("dl", { class: "figures" }, Object.entries(FIGURES).map(([key, { name, text }]) => h("div", {}, h("dt", {}, name), h("dd", {}, text(run.figures[key]))))),
        h("a", { class: "button quiet", href: runAddress(run.name) }, "The run"));
      const goal = side.sweep.target ? fileAddress(side.sweep.target.run, side.sweep.target) : "";
      const address = run.latest ? fileAddress(run.name, run.latest) : "";
      target.show(goal, "Target");
      image.show(address, `What ${layer} keeps`);
      image.image.alt = `What ${layer} keeps`;
      signed.show(address, goal, "Kept minus target");
      between.show(goal, address);
      for (const each of [target.element, signed.element]) each.hidden = !goal;
      if (tell) onchoose();
    },
  };
  side.column.element.hidden = true;
  return side;
}
