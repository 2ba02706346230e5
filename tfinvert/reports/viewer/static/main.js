// Chooses the page by its address, and fetches the files of that page alone.

const main = document.getElementById("main");
const path = location.pathname;
for (const link of document.querySelectorAll("nav a")) if (link.getAttribute("href") === path) link.setAttribute("aria-current", "page");
if (path.startsWith("/run/")) (await import("./run.js")).showRun(main);
else if (path.startsWith("/layers/")) (await import("./layers.js")).showLayers(main);
else if (path === "/compare") (await import("./compare.js")).showComparison(main);
else (await import("./home.js")).showHome(main);
