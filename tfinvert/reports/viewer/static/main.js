// Chooses the page by its address.

import { showHome } from "./home.js";
import { showRun } from "./run.js";
import { showLayers } from "./layers.js";
import { showComparison } from "./compare.js";

const main = document.getElementById("main");
const path = location.pathname;
const show = path.startsWith("/run/") ? showRun : path.startsWith("/layers/") ? showLayers : path === "/compare" ? showComparison : showHome;
for (const link of document.querySelectorAll("nav a")) if (link.getAttribute("href") === path) link.setAttribute("aria-current", "page");
show(main);
