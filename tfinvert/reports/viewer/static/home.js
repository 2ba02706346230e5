// All runs as cards, and the sweeps among them as strips of what their layers keep.

import { ago, ask, calmly, decibels, fileAddress, h, imageName, layersAddress, number, runAddress, stateLabel, title } from "./dom.js";
import { onChange } from "./live.js";

const MORE = 60;

export function showHome(main) {
  const search = h("input", { type: "search", placeholder: "Search network, layer, image, experiment", "aria-label": "Search runs", value: new URLSearchParams(location.search).get("query") ?? "", spellcheck: "false" });
  const count = h("p", { class: "count", role: "status" });
  const strips = h("div", { class: "strips" });
  const grid = h("ul", { class: "grid" });
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => { shown += MORE; refresh(); } }, "Show more");
  const empty = h("div", { class: "empty", hidden: true });
  const tray = h("div", { class: "tray", hidden: true, role: "region", "aria-label": "Runs to compare" });
  const layerPart = h("section", { "aria-labelledby": "by-layer", hidden: true }, h("h2", { id: "by-layer" }, "By layer"), strips);
  const runPart = h("section", { "aria-labelledby": "all-runs" }, h("h2", { id: "all-runs" }, "Runs"), grid, more, empty);
  main.append(h("div", { class: "top" }, h("h1", {}, "What networks keep"), search, count), layerPart, runPart, tray);

  let shown = MORE;
  const chosen = new Map(); // name -> card
  const cards = new Map(), sweeps = new Map();

  function choose(card, on) {
    on ? chosen.set(card.name, card) : chosen.delete(card.name);
    while (chosen.size > 2) chosen.delete(chosen.keys().next().value);
    for (const [name, { box }] of cards) box.checked = chosen.has(name);
    const names = [...chosen.keys()];
    tray.hidden = names.length === 0;
    tray.replaceChildren(
      h("span", {}, names.length === 1 ? `${title(chosen.get(names[0]))} and …` : names.map((name) => title(chosen.get(name))).join(" and ")),
      names.length === 2 ? h("a", { class: "button", href: `/compare?${new URLSearchParams({ a: names[0], b: names[1] })}` }, "Compare") : h("span", { class: "faint" }, "choose one more run"),
      h("button", { type: "button", onclick: () => { chosen.clear(); choose(card, false); } }, "Clear"));
  }

  const refresh = calmly(200, async () => {
    const query = search.value.trim();
    const found = await ask(`/api/runs?${new URLSearchParams({ query, count: shown })}`);
    if (!found || search.value.trim() !== query) return;
    count.textContent = `${number(found.total)} ${found.total === 1 ? "run" : "runs"}${query ? " found" : ""}`;
    document.title = `${found.total} runs – tfinvert`;
    reconcile(grid, cards, found.runs, (card) => makeCard(card, choose));
    more.hidden = found.total <= found.runs.length;
    empty.hidden = found.total > 0;
    empty.replaceChildren(h("p", {}, query ? `No run has “${query}” in its network, layers, image or settings.` : `There is no run in ${found.folder} yet. A run appears here when it begins:`),
      query ? "" : h("pre", { tabindex: 0 }, "tfinvert demo"));
    refreshSweeps();
  });
  // Sweeps are found by reading every run, which the first cards do not wait for.
  const refreshSweeps = calmly(1000, async () => {
    const query = search.value.trim();
    const grouped = await ask(`/api/sweeps?${new URLSearchParams({ query })}`);
    if (search.value.trim() !== query) return;
    reconcile(strips, sweeps, grouped?.sweeps ?? [], makeStrip);
    layerPart.hidden = sweeps.size === 0;
  });
  search.addEventListener("input", () => {
    shown = MORE;
    history.replaceState(null, "", search.value.trim() ? `/?${new URLSearchParams({ query: search.value.trim() })}` : "/");
    refresh();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); search.focus(); } });
  new IntersectionObserver((entries) => { if (entries[0].isIntersecting && !more.hidden) more.click(); }, { rootMargin: "600px" }).observe(more);
  setInterval(refresh, 20000); // a run that says nothing any more
  onChange(() => refresh());
  refresh();
}

/** Makes the elements in a container those of the items, in their order; elements that stay are updated. */
function reconcile(container, known, items, make) {
  const names = new Set(items.map((item) => item.name));
  for (const [name, { element }] of known) if (!names.has(name)) { element.remove(); known.delete(name); }
  items.forEach((item, index) => {
    if (!known.has(item.name)) known.set(item.name, make(item));
    const entry = known.get(item.name);
    entry.update(item);
    if (container.children[index] !== entry.element) container.insertBefore(entry.element, container.children[index] ?? null);
  });
}

function makeCard(first, choose) {
  let card = first;
  const image = h("img", { alt: "", loading: "lazy", width: 224, height: 224 });
  const frame = h("div", { class: "frame" }, image);
  const link = h("a", { href: runAddress(card.name) });
  const state = h("span"), about = h("p", { class: "about" }), figure = h("p", { class: "figure" });
  const progress = h("div", { class: "progress", "aria-hidden": "true" }, h("span"));
  const box = h("input", { type: "checkbox", onchange: () => choose(card, box.checked) });
  const pick = h("label", { class: "pick" }, box, h("span", { class: "heard" }));
  image.addEventListener("load", () => frame.classList.remove("broken"));
  image.addEventListener("error", () => frame.classList.add("broken"));
  const element = h("li", { class: "card" }, frame, h("div", { class: "words" }, h("h3", {}, link), about, figure), progress, state, pick);
  return {
    element, box,
    update(next) {
      card = next;
      element.dataset.name = card.name;
      element.dataset.state = card.state;
      frame.classList.toggle("none", !card.latest);
      if (card.latest) {
        const address = fileAddress(card.name, card.latest);
        if (image.getAttribute("src") !== address) swap(image, address);
      }
      link.textContent = title(card);
      pick.querySelector("span").textContent = `Compare ${card.name}`;
      about.textContent = [card.network, imageName(card)].filter(Boolean).join(" · ");
      const parts = [card.figures.psnr === undefined ? null : decibels(card.figures.psnr), card.step === null ? null : `step ${number(card.step)}`, ago(card.changed)];
      figure.textContent = parts.filter(Boolean).join(" · ");
      element.title = card.name;
      state.replaceChildren(stateLabel(card));
      progress.hidden = card.state !== "running" || !card.steps;
      if (card.steps) progress.firstChild.style.width = `${Math.min(100, (100 * (card.step ?? 0)) / card.steps)}%`;
    },
  };
}

/** Changes an image when the next one is whole, so that nothing flickers. */
function swap(image, address) {
  if (!image.getAttribute("src")) { image.src = address; return; }
  const next = new Image();
  next.onload = next.onerror = () => { image.src = address; };
  next.src = address;
}

function makeStrip(sweep) {
  const film = h("div", { class: "film", "aria-hidden": "true" }), words = h("div", { class: "words" });
  const element = h("a", { class: "strip", href: layersAddress(sweep.name) }, words, film);
  const images = new Map();
  return {
    element,
    update(next) {
      const shallow = next.runs[0].figures.psnr, deep = next.runs.at(-1).figures.psnr;
      words.replaceChildren(h("strong", {}, next.network), h("span", {}, `${next.count} layers · ${imageName(next)}`),
        h("span", { class: "faint" }, next.running ? "running now" : shallow !== undefined && deep !== undefined ? `${decibels(shallow)} to ${decibels(deep)}` : ago(next.changed)),
        h("span", { class: "go" }, "Explore the layers →"));
      const shown = next.runs.filter((run) => run.latest);
      for (const [name, image] of images) if (!shown.some((run) => run.name === name)) { image.remove(); images.delete(name); }
      shown.forEach((run, index) => {
        if (!images.has(run.name)) images.set(run.name, h("img", { alt: "", loading: "lazy", width: 96, height: 96 }));
        const image = images.get(run.name), address = fileAddress(run.name, run.latest);
        if (image.getAttribute("src") !== address) swap(image, address);
        if (film.children[index] !== image) film.insertBefore(image, film.children[index] ?? null);
      });
    },
  };
}
