// Events of the server: which runs have changed. A page that cannot be seen is not connected, and catches up when it is seen.

const listeners = [];
let source = null;

/** Calls back with (name) => whether that run has changed, at each event and after each gap. */
export function onChange(callback) {
  listeners.push(callback);
  if (listeners.length === 1) {
    document.addEventListener("visibilitychange", connect);
    connect();
  }
}

function connect() {
  if (document.hidden) {
    source?.close();
    source = null;
    return;
  }
  if (source) return;
  source = new EventSource("/events");
  let first = true;
  source.onopen = () => { first = true; show("live", "live"); };
  source.onerror = () => show("gone", "not connected");
  source.onmessage = (event) => {
    const { changed = [], many = false } = JSON.parse(event.data);
    const all = many || first;
    first = false;
    if (all || changed.length) listeners.forEach((listener) => listener((name) => all || changed.includes(name)));
  };
}

function show(state, text) {
  const element = document.getElementById("live");
  element.className = `live ${state}`;
  element.textContent = text;
}
addEventListener("pagehide", () => { source?.close(); source = null; });
addEventListener("pageshow", (event) => { if (event.persisted && listeners.length) connect(); });
