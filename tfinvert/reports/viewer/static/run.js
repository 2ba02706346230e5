// The page of one run.

import { FIGURES, askRun, bytes, calmly, choice, decibels, figureName as words, fileAddress, fill, h, imageName, layersAddress, nameFrom, number, stateLabel, table, title } from "./dom.js";
import { chart, curvesOf } from "./charts.js";
import { onChange } from "./live.js";
import { Zoom, difference, panel, rangeChoice, slider } from "./panels.js";
import { scrubber } from "./scrubber.js";

const LINKS = { "sheet.png": "Contact sheet", "curves.png": "Curves as an image", "compare.png": "Comparison", "report.html": "Report" };

export function showRun(main) {
  const name = nameFrom("/run/");
  const head = h("div", { class: "top run" }), note = h("p", { class: "empty", hidden: true });
  const stage = makeStage();
  const figures = h("div"), others = makeGallery(), details = h("div", { class: "details" });
  const charts = makeCharts((step) => stage.go(step));
  stage.onstep = (step) => charts.mark(step);
  const part = (heading, ...content) => h("section", {}, h("h2", {}, heading), ...content);
  const chartPart = part("Curves", charts.element), figurePart = part("Figures", figures), otherPart = part("Images", others.element);
  main.append(head, note, stage.element, otherPart, figurePart, chartPart, details);
  for (const each of [stage.element, otherPart, figurePart, chartPart]) each.hidden = true;

  let drawn = "";
  const refresh = calmly(400, async () => {
    const run = await askRun(name);
    note.hidden = run !== null;
    if (!run) {
      note.textContent = drawn ? "This run directory is gone. What is shown is what it was." : `There is no run ${name}.`;
      if (!drawn) head.replaceChildren(h("h1", {}, "No such run"));
      return;
    }
    document.title = `${title(run)} – tfinvert`;
    const { name: own, state, stopped, weights, step, files } = run;
    fill(head, [own, state, stopped, weights, run.answer, run.layers, run.network, state === "running" && step, files.map(({ path }) => path).filter((path) => path in LINKS)],
      h("p", { class: "crumbs" }, h("a", { href: "/" }, "Runs"), " / ", run.name),
      h("h1", {}, title(run), " ", stateLabel(run)),
      h("p", { class: "about" }, [run.network, imageName(run), run.size && `${run.size.join(" × ")} pixels`].filter(Boolean).join(" · ")),
      run.weights && h("p", { class: "faint" }, `weights: ${run.weights}`),
      run.answer && h("p", { class: "answer" }, run.answer),
      run.stopped && h("p", { class: "error" }, `Stopped: ${run.stopped}`),
      h("p", { class: "links" },
        h("a", { class: "button", href: `/compare?${new URLSearchParams({ a: run.name })}` }, "Compare with another run"),
        run.layer && run.experiment === "invert" && h("a", { class: "button quiet", href: `${layersAddress(run.name.split("/").slice(0, -1).join("/") || ".")}?${new URLSearchParams({ layer: run.layer.name })}` }, "Layers"),
        run.files.filter(({ path }) => path in LINKS).map((file) => h("a", { class: "button quiet", href: fileAddress(run.name, file) }, LINKS[file.path]))));
    stage.update(run);
    charts.update([["", run]]);
    chartPart.hidden = run.metrics.length === 0;
    others.update(run);
    otherPart.hidden = run.rows.length === 0;
    fill(figures, run.result, figureTables(run.result));
    figurePart.hidden = figures.childElementCount === 0;
    const now = JSON.stringify([run.command, run.versions, run.files.map(({ path, size }) => [path, size])]);
    if (now !== drawn) {
      const open = new Set([...details.querySelectorAll("details[open]")].map((each) => each.dataset.name));
      details.replaceChildren(...makeDetails(run, open));
    }
    drawn = now;
  });
  onChange((changed) => changed(name) && refresh());
  setInterval(refresh, 20000);
  refresh();
}

/** Target, image and difference with one zoom, or a slider between two of them; and the steps. */
function makeStage() {
  const zoom = new Zoom();
  const target = panel("Target", zoom), image = panel("Image", zoom), signed = difference(zoom), between = slider(zoom);
  const trio = h("div", { class: "panels" }, target.element, image.element, signed.element);
  const pair = h("div", { class: "panels", hidden: true }, between.element);
  const modes = choice("How the images are shown", { side: "Side by side", slider: "Slider" }, "side", (mode) => {
    trio.hidden = mode === "slider";
    pair.hidden = mode !== "slider";
    zoom.to(zoom.scale);
  });
  const range = rangeChoice([signed]);
  let run = null, frames = [];
  const stage = {
    element: h("section", { class: "stage", "aria-label": "Images" }),
    onstep: () => {},
    go: (step) => steps.go(step),
    update(next) {
      run = next;
      frames = run.stepImages.map(({ step, path, stamp }) => ({ step, address: fileAddress(run.name, { path, stamp }) }));
      const final = run.files.find(({ path }) => path === run.final);
      if (final) frames.push({ step: null, address: fileAddress(run.name, final) });
      stage.element.hidden = frames.length === 0;
      const targetFile = run.files.find(({ path }) => path === run.target);
      stage.target = targetFile ? fileAddress(run.name, targetFile) : "";
      target.show(stage.target);
      for (const each of [target.element, signed.element, modes, range]) each.hidden = !stage.target;
      steps.update(frames.map((_, index) => index));
    },
  };
  const psnrAt = (step) => run.metrics.find((line) => line.step === step)?.psnr;
  const text = (frame) => {
    if (frame.step === null) return run.figures.psnr === undefined ? "Result" : `Result, ${decibels(run.figures.psnr)}`;
    const psnr = psnrAt(frame.step);
    return `Step ${number(frame.step)}${psnr === undefined ? "" : `, ${decibels(psnr)}`}`;
  };
  const steps = scrubber((index) => {
    const frame = frames[index];
    image.show(frame.address, text(frame));
    image.image.alt = text(frame);
    between.show(stage.target, frame.address);
    signed.show(frame.address, stage.target, "Image minus target");
    stage.onstep(frame.step ?? run.metrics.at(-1)?.step ?? null);
  }, (index) => text(frames[index]));
  const go = steps.go;
  steps.go = (step) => go(frames.reduce((best, frame, at) => (frame.step !== null && Math.abs(frame.step - step) < Math.abs((frames[best].step ?? 1e18) - step) ? at : best), 0));
  stage.element.append(h("div", { class: "tools" }, modes, zoom.controls(), range), trio, pair, steps.element);
  return stage;
}

/** Curves of one run or of several: [[name, run], ...]. */
export function makeCharts(onpick) {
  const each = {
    psnr: chart("PSNR", { onpick, unit: " dB" }),
    loss: chart("Loss and its terms, without their weights", { onpick, log: true }),
    rate: chart("Learning rate", { onpick }),
  };
  const element = h("div", { class: "charts" }, Object.values(each).map((one) => one.element));
  return {
    element,
    update(runs) {
      const curves = runs.map(([prefix, run]) => curvesOf(run.metrics, prefix));
      for (const [kind, one] of Object.entries(each)) {
        const series = curves.flatMap((found) => (kind === "loss" && runs.length > 1 ? found.loss.filter(({ label }) => label.endsWith("loss")) : found[kind]));
        one.element.hidden = series.length === 0;
        one.update(series);
      }
    },
    mark(step) { Object.values(each).forEach((one) => one.mark(step)); },
  };
}

/** The images that are no steps, with a zoom of their own: maps, overlays, fooling images; and the sheet. */
function makeGallery() {
  const zoom = new Zoom(), panels = new Map();
  const images = h("div", { class: "rows" });
  const tools = h("div", { class: "tools" }, zoom.controls());
  const panelOf = (file, key) => {
    if (!panels.has(key)) {
      panels.set(key, panel(file.caption, zoom));
      // A map of numbers has the colors of heat, each on a scale of its own.
      if (file.map) panels.get(key).element.append(h("div", { class: "heat", "aria-hidden": "true" }), h("div", { class: "ends" }, h("span", {}, "0"), h("span", {}, "largest of this map")));
    }
    return panels.get(key);
  };
  return {
    element: h("div", {}, tools, images),
    update(run) {
      while (images.childElementCount < run.rows.length) images.append(h("div", { class: "panels many" }));
      while (images.childElementCount > run.rows.length) images.lastElementChild.remove();
      run.rows.forEach((files, index) => {
        const row = images.children[index];
        row.style.setProperty("--count", files.length);
        const shown = files.map((file) => [panelOf(file, `${index} ${file.path}`), file]);
        if (shown.some(([one], at) => row.children[at] !== one.element) || row.childElementCount !== shown.length) row.replaceChildren(...shown.map(([one]) => one.element));
        for (const [one, file] of shown) one.show(fileAddress(run.name, file), file.caption);
      });
    },
  };
}

/** The figures of a result: numbers in one table, lists of figures in others. */
export function figureTables(result) {
  const simple = Object.entries(result).filter(([, value]) => typeof value !== "object" || value === null);
  const lists = Object.entries(result).filter(([, value]) => typeof value === "object" && value !== null);
  const text = (name, value) => (FIGURES[name] ? FIGURES[name].text(value) : number(value));
  const shown = simple.length ? [h("dl", { class: "figures" }, simple.map(([name, value]) => h("div", {}, h("dt", {}, words(name)), h("dd", {}, text(name, value)))))] : [];
  for (const [name, value] of lists) {
    const rows = Array.isArray(value) ? value : [value];
    if (rows.length && rows.every((row) => row !== null && typeof row === "object" && !Array.isArray(row))) {
      const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((key) => rows.some((row) => typeof row[key] !== "object"));
      shown.push(h("h3", {}, words(name)), table(words(name), keys.map(words), rows.map((row) => keys.map((key) => number(row[key])))));
    } else if (rows.length) shown.push(h("h3", {}, words(name)), h("p", {}, rows.flat(3).slice(0, 60).map((each) => number(each)).join(", ")));
  }
  return shown;
}

function makeDetails(run, open) {
  const fold = (name, heading, ...content) => h("details", { "data-name": name, open: open.has(name) }, h("summary", {}, h("h2", {}, heading)), ...content);
  const pairs = (caption, values) => table(caption, [], Object.entries(values).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]));
  const copy = h("button", { type: "button", onclick: async () => {
    await navigator.clipboard.writeText(run.command);
    copy.textContent = "Copied";
  } }, "Copy");
  return [
    run.command && h("section", {}, h("h2", {}, "Command"), h("div", { class: "command" }, h("pre", { tabindex: 0, "aria-label": "Command" }, run.command), copy)),
    Object.keys(run.flags).length > 0 && fold("settings", "Settings", pairs("Settings", { ...run.flags, ...run.chosen })),
    Object.keys(run.versions).length > 0 && fold("versions", "Versions", pairs("Versions", run.versions)),
    run.files.length > 0 && fold("files", `Files (${run.files.length})`, table("Files", ["file", "size"],
      run.files.map((file) => [h("a", { href: fileAddress(run.name, file) }, file.path), bytes(file.size)]))),
  ].filter(Boolean);
}
