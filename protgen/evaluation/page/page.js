"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const CONFIG = {displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "sendDataToCloud"]};
const RAINBOW = [[0, "#3b5fc0"], [0.25, "#3fa3b8"], [0.5, "#63b364"], [0.75, "#e0b13c"], [1, "#cf4a3c"]];
const root = document.documentElement;

function colours() {
  const style = getComputedStyle(root);
  return Object.fromEntries(["ink", "soft", "grid"].map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}

function themed(layout) {
  const c = colours();
  const axis = {gridcolor: c.grid, linecolor: c.grid, zerolinecolor: c.grid, tickcolor: c.grid};
  const named = (own) => {
    const title = {...own?.title, font: {size: 13}};
    // a narrow window fits half the labels of an axis in degrees
    return own?.dtick === 60 && innerWidth < 560 ? {...own, title, dtick: 120, tickangle: 0} : {...own, title};
  };
  const names = [...new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))])];
  const axes = Object.fromEntries(names.map((name) => [name, {...axis, ...named(layout[name])}]));
  return {
    margin: {l: 54, r: 14, t: layout.annotations ? 30 : 10, b: 46}, showlegend: false,
    modebar: {bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.ink}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {color: c.ink, family: "system-ui, sans-serif", size: 12.5},
    hoverlabel: {font: {size: 12}},
    ...layout, ...axes,
  };
}

const hiddenSets = new Set();

function drawPlots() {
  for (const [id, figure] of Object.entries(DATA.figures)) {
    const data = figure.data.map((trace) => ({...trace, visible: !hiddenSets.has(trace.name)}));
    Plotly.react(id, data, themed(figure.layout), CONFIG);
  }
}

function toggleSet(chip) {
  const shown = chip.getAttribute("aria-pressed") !== "true";
  chip.setAttribute("aria-pressed", String(shown));
  if (shown) hiddenSets.delete(chip.dataset.set);
  else hiddenSets.add(chip.dataset.set);
  drawPlots();
}

function steps(palette) {
  const n = palette.length;
  return palette.flatMap((colour, k) => [[k / n, colour], [(k + 1) / n, colour]]);
}

function meshTrace(mesh, byChain) {
  const light = {ambient: 0.55, diffuse: 0.75, specular: 0.18, roughness: 0.55, fresnel: 0.05};
  if (mesh.ca) {
    const [x, y, z] = mesh.ca;
    const along = Array.from({length: mesh.points}, (_, k) => k / Math.max(1, mesh.points - 1));
    const line = byChain ? {color: along, colorscale: RAINBOW, cmin: 0, cmax: 1}
      : {color: mesh.code, colorscale: steps(DATA.palette), cmin: -0.5, cmax: DATA.palette.length - 0.5};
    return {type: "scatter3d", mode: "lines", x, y, z, line: {width: 9, ...line}, hoverinfo: "skip"};
  }
  return {
    type: "mesh3d", x: mesh.x, y: mesh.y, z: mesh.z, i: mesh.i, j: mesh.j, k: mesh.k, intensitymode: "cell",
    intensity: byChain ? mesh.along : mesh.code, cmin: byChain ? 0 : -0.5, cmax: byChain ? 255 : DATA.palette.length - 0.5,
    colorscale: byChain ? RAINBOW : steps(DATA.palette), showscale: false, flatshading: false, lighting: light,
    lightposition: {x: -400, y: 700, z: 1200}, hoverinfo: "skip",
  };
}

function drawStructure() {
  const select = document.getElementById("which");
  if (!select) return;
  const shown = DATA.structures[Number(select.value)];
  const byChain = document.getElementById("colouring").value === "chain";
  const hidden = {visible: false, showbackground: false};
  // one scale for all axes, such that the longest fits the view
  const most = Math.max(...shown.mesh.span), [x, y, z] = shown.mesh.span.map((extent) => 1.4 * extent / most);
  const scene = {
    xaxis: hidden, yaxis: hidden, zaxis: hidden, aspectmode: "manual", aspectratio: {x, y, z}, dragmode: "orbit",
    camera: {eye: {x: 0, y: 0, z: 1.7}, up: {x: 0, y: 1, z: 0}, projection: {type: "perspective"}},
  };
  const c = colours();
  const layout = {margin: {l: 0, r: 0, t: 0, b: 0}, modebar: {bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.ink}, paper_bgcolor: "rgba(0,0,0,0)", scene, uirevision: select.value};
  Plotly.react("view", [meshTrace(shown.mesh, byChain)], layout, CONFIG);
  document.getElementById("reason").textContent = shown.reason;
  const tag = document.getElementById("kind");
  tag.textContent = shown.kind;
  tag.hidden = !shown.kind;
  tag.className = "tag " + shown.kind;
}

function show(place) {
  const select = document.getElementById("which");
  if (!select || !DATA.structures.length) return;
  select.value = String((place + DATA.structures.length) % DATA.structures.length);
  drawStructure();
}

// The structure behind a point of a plot; names of files are unique in a page.
function showFile(name) {
  const place = DATA.structures.findIndex((one) => one.file === name);
  if (place < 0) return;
  show(place);
  document.getElementById("view").scrollIntoView({block: "center"});
}

function find() {
  const wanted = document.getElementById("find").value.trim().toLowerCase();
  const place = DATA.structures.findIndex((one) => one.file.toLowerCase().includes(wanted));
  if (wanted && place >= 0) show(place);
}

function setTheme(name) {
  root.dataset.theme = name;
  drawPlots();
  drawStructure();
}

for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => toggleSet(chip));
document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
for (const id of ["which", "colouring"]) {
  const control = document.getElementById(id);
  if (control) control.addEventListener("change", drawStructure);
}
const select = document.getElementById("which");
if (select) {
  document.getElementById("before").addEventListener("click", () => show(Number(select.value) - 1));
  document.getElementById("after").addEventListener("click", () => show(Number(select.value) + 1));
  document.getElementById("find").addEventListener("input", find);
}
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
for (const id of Object.keys(DATA.figures)) {
  document.getElementById(id).on("plotly_click", (event) => {
    const text = event.points[0]?.text;
    if (typeof text === "string") showFile(text.split("<br>")[0]);
  });
}
