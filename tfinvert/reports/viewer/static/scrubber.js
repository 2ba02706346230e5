// Moves through the steps of a run: a slider, a button that plays, and keys.

import { h } from "./dom.js";

const FRAMES = 10; // a second
const LONGEST = 12; // seconds that playing all steps takes at most

/** { element, update(steps), go(step) }; calls onstep(index) whenever another step is shown. It follows a run that goes on. */
export function scrubber(onstep, label = (step) => `step ${step}`) {
  const input = h("input", { type: "range", min: 0, max: 0, value: 0, step: 1, "aria-label": "Step" });
  const play = h("button", { type: "button", class: "play", "aria-label": "Play", title: "Play (space)" }, "▶");
  const text = h("output", {});
  let steps = [], index = 0, timer = null, follow = true;

  function show(next) {
    index = Math.min(Math.max(next, 0), steps.length - 1);
    follow = index === steps.length - 1;
    input.value = index;
    text.textContent = steps.length ? label(steps[index]) : "no image yet";
    input.setAttribute("aria-valuetext", text.textContent);
    if (steps.length) onstep(index);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  }
  function toggle() {
    if (timer !== null) return stop();
    if (steps.length < 2) return;
    if (index === steps.length - 1) show(0);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    const part = Math.max(Math.ceil(steps.length / (FRAMES * LONGEST)), 1);
    timer = setInterval(() => { show(index + part); if (index === steps.length - 1) stop(); }, 1000 / FRAMES);
  }
  play.addEventListener("click", toggle);
  input.addEventListener("input", () => { stop(); show(Number(input.value)); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !element.isConnected) return;
    if (event.target.closest("input, select, textarea, button, a, summary, [role=listbox], .view")) return;
    const moves = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: steps.length - 1 };
    if (event.key === " ") toggle();
    else if (event.key in moves) { stop(); show(moves[event.key]); }
    else return;
    event.preventDefault();
  });
  const element = h("div", { class: "scrubber" }, play, input, text);
  return {
    element,
    update(next) {
      const grew = follow && timer === null;
      steps = next;
      input.max = Math.max(steps.length - 1, 0);
      element.hidden = steps.length < 2;
      if (steps.length) show(grew ? steps.length - 1 : index);
    },
    go(step) {
      stop();
      const nearest = steps.reduce((best, each, at) => (Math.abs(each - step) < Math.abs(steps[best] - step) ? at : best), 0);
      show(nearest);
    },
  };
}
