// Two runs side by side: their images with one zoom and one scrubber, what differs in their settings, their figures and curves.

import { ask, askRun, calmly, decibels, figureName, fileAddress, fill, h, imageName, number, runAddress, stateLabel, table, title } from "./dom.js";
import { makeCharts } from "./run.js";
import { onChange } from "./live.js";
import { Zoom, difference, panel, rangeChoice, slider } from "./panels.js";
import { scrubber } from "./scrubber.js";
import { choice } from "./dom.js";

export async function showComparison(main) {
  const asked = new URLSearchParams(location.search);
  const names = [asked.get("a") ?? "", asked.get("b") ?? ""];
  document.title = "Compare – tfinvert";
  const options = h("datalist", { id: "names" });
  const pickers = ["First run", "Second run"].map((label, index) => h("label", { class: "picker" }, label,
    h("input", { list: "names", value: names[index], spellcheck: "false", placeholder: "a run directory", onchange: (event) => {
      asked.set(index ? "b" : "a", event.target.value);
      location.search = asked.toString();
    } })));
  main.append(h("div", { class: "top" }, h("h1", {}, "Two runs side by side")), h("div", { class: "pickers" }, pickers, options));
  ask("/api/runs?count=300").then((found) => options.append(...(found?.runs ?? []).map((run) => h("option", { value: run.name }, title(run)))));
  if (!names[0] || !names[1]) {
    main.append(h("p", { class: "empty" }, "Choose two runs: here, or with the boxes of their cards."));
    return;
  }

  const zoom = new Zoom();
  const images = names.map(() => panel("Image", zoom)), signed = difference(zoom), between = slider(zoom, ["First", "Second"]);
  const trio = h("div", { class: "panels" }, images.map((each) => each.element), signed.element), pair = h("div", { class: "panels", hidden: true }, between.element);
  const modes = choice("How the images are shown", { side: "Side by side", slider: "Slider" }, "side", (mode) => {
    trio.hidden = mode === "slider";
    pair.hidden = mode !== "slider";
    zoom.to(zoom.scale);
  });
  const heads = names.map(() => h("div")), flags = h("div"), figures = h("div"), note = h("p", { class: "empty", hidden: true });
  const charts = makeCharts((step) => steps.go(step));
  let runs = [], places = [];

  const frameAt = (run, step) => {
    const frames = run.stepImages.filter((each) => each.step <= step);
    const file = step === Infinity ? run.files.find(({ path }) => path === run.final) ?? run.stepImages.at(-1) : frames.at(-1) ?? run.stepImages[0];
    return file ? { step: file.step, address: fileAddress(run.name, file) } : run.latest ? { address: fileAddress(run.name, run.latest) } : null;
  };
  const text = (index) => (places[index] === Infinity ? "Results" : `Step ${number(places[index])}`);
  const steps = scrubber((index) => {
    const shown = runs.map((run) => frameAt(run, places[index]));
    shown.forEach((frame, side) => {
      const psnr = frame?.step === undefined ? runs[side].figures.psnr : runs[side].metrics.find((line) => line.step === frame.step)?.psnr;
      images[side].show(frame?.address, `${side ? "Second" : "First"}: ${title(runs[side])}${frame?.step === undefined ? "" : `, step ${number(frame.step)}`}${psnr === undefined ? "" : `, ${decibels(psnr)}`}`);
    });
    if (shown[0] && shown[1]) {
      signed.show(shown[0].address, shown[1].address, "First minus second");
      between.show(shown[0].address, shown[1].address);
    }
    charts.mark(places[index] === Infinity ? null : places[index]);
  }, text);
  const go = steps.go;
  steps.go = (step) => go(places.reduce((best, place, at) => (Math.abs(place - step) < Math.abs(places[best] - step) ? at : best), 0));

  main.append(note, h("div", { class: "sides" }, heads), h("section", { class: "stage", "aria-label": "Images" },
    h("div", { class: "tools" }, modes, zoom.controls(), rangeChoice([signed])), trio, pair, steps.element),
  h("section", {}, h("h2", {}, "What differs in their flags"), flags), h("section", {}, h("h2", {}, "Figures"), figures),
  h("section", {}, h("h2", {}, "Curves"), charts.element));

  const refresh = calmly(400, async () => {
    const found = await Promise.all(names.map(askRun));
    note.hidden = found.every(Boolean);
    note.textContent = `There is no run ${names.filter((_, index) => !found[index]).join(" and no run ")}.`;
    if (!found.every(Boolean)) return;
    runs = found;
    document.title = `${title(runs[0])} and ${title(runs[1])} – tfinvert`;
    runs.forEach((run, index) => fill(heads[index], [run.name, run.state, run.step], h("h2", {}, h("a", { href: runAddress(run.name) }, title(run)), " ", stateLabel(run)),
      h("p", { class: "about" }, [run.name, run.network, imageName(run)].filter(Boolean).join(" · "))));
    const steppers = new Set(runs.flatMap((run) => run.stepImages.map(({ step }) => step)));
    places = [...[...steppers].sort((a, b) => a - b), Infinity];
    steps.update(places.map((_, index) => index));
    const all = runs.map((run) => ({ ...run.flags, ...Object.fromEntries(Object.entries(run.chosen).map(([key, value]) => [key, String(value)])) }));
    const differing = [...new Set(all.flatMap(Object.keys))].sort().filter((key) => all[0][key] !== all[1][key]);
    flags.replaceChildren(differing.length ? table("Flags that differ", ["flag", "first", "second"], differing.map((key) => [`--${key}`, all[0][key] ?? "–", all[1][key] ?? "–"])) : h("p", {}, "Nothing: both runs have the same settings."));
    const keys = [...new Set(runs.flatMap((run) => Object.keys(run.result)))].filter((key) => runs.some((run) => typeof run.result[key] === "number"));
    figures.replaceChildren(keys.length ? table("Figures", ["figure", "first", "second", "difference"], keys.map((key) => {
      const [a, b] = runs.map((run) => run.result[key]), both = typeof a === "number" && typeof b === "number";
      return [figureName(key), number(a), number(b), both ? `${b > a ? "+" : ""}${number(b - a, 3)}` : "–"];
    })) : h("p", {}, "Neither run has ended."));
    charts.update([["first ", runs[0]], ["second ", runs[1]]]);
  });
  onChange((changed) => names.some(changed) && refresh());
  refresh();
}
