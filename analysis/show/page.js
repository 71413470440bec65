"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const plot = (id) => document.getElementById("chart-" + id);

function themed(chart, ink, line, background) {
  const small = innerWidth < 640 ? 10.5 : 12.5;
  const titled = (axis) => ({...axis, title: {...axis.title, font: {size: small}, standoff: 8}});
  const look = {tickfont: {size: small}, gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true};
  const {template, ...own} = chart.layout;
  const others = Object.entries(own).filter(([name]) => /^[xy]axis[0-9]+$/.test(name));
  return {...own, paper_bgcolor: background, plot_bgcolor: background,
    font: {color: ink, family: "system-ui, sans-serif", size: small}, margin: {l: 50, r: 15, t: 15, b: 40},
    legend: {orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom"}, hoverlabel: {font: {size: 13}},
    ...Object.fromEntries(others.map(([name, axis]) => [name, titled({...look, ...axis})])),
    xaxis: titled({...look, ...own.xaxis}), yaxis: titled({...look, ...own.yaxis})};
}

function draw(id) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
  Plotly.react(plot(id), charts.get(id).data, themed(charts.get(id), ink, line, "rgba(0,0,0,0)"),
    {responsive: true, displaylogo: false, displayModeBar: false});
}

// A chart in a closed tab has no size yet. It is drawn when its tab opens.
const isShown = (id) => plot(id).offsetParent !== null;
function drawAll() {
  const left = [...charts.keys()].filter(isShown);
  const next = () => {
    const id = left.shift();
    if (id === undefined) { document.documentElement.dataset.drawn = "yes"; return; }
    draw(id);
    setTimeout(next);
  };
  next();
}

function save(id, format) {
  const layout = themed(charts.get(id), "#1d2430", "#dcdfe4", "#ffffff");
  const title = plot(id).closest("figure").querySelector("h3").textContent;
  layout.title = {text: title.replace(/[<>&]/g, " "), font: {size: 15}, x: 0.02, xanchor: "left"};
  layout.margin = {...layout.margin, t: 90};
  const height = Math.max(560, 1.5 * plot(id).offsetHeight);
  Plotly.downloadImage({data: charts.get(id).data, layout}, {format, filename: "fourfold-" + id, width: 900, height});
}
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.chart, button.dataset.save));
}

document.getElementById("save-csv")?.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([figuresCsv], {type: "text/csv"}));
  link.download = "fourfold-figures.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

// A browser may refuse the clipboard: then the table is selected, ready for Ctrl-C.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      let place = button.closest("h3");
      while (!place.matches(".scroll")) place = place.nextElementSibling;
      getSelection().selectAllChildren(place);
      button.textContent = "Press Ctrl-C";
    }
  });
}

const tabs = [...document.querySelectorAll("[role=tab]")];
function open(tab) {
  for (const each of tabs) {
    const isOpen = each === tab;
    each.setAttribute("aria-selected", isOpen);
    each.tabIndex = isOpen ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !isOpen;
  }
  for (const chart of document.getElementById(tab.getAttribute("aria-controls")).querySelectorAll(".plot")) {
    draw(chart.id.slice("chart-".length));
  }
}
for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const other = tabs[(place + step + tabs.length) % tabs.length];
    open(other);
    other.focus();
  });
}

// Nobody can open a tab on paper: print all of them.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("[role=tabpanel][hidden]")];
  for (const panel of closed) panel.hidden = false;
  for (const id of charts.keys()) draw(id);
});
addEventListener("afterprint", () => { for (const panel of closed) panel.hidden = true; });

drawAll();
dark.addEventListener("change", drawAll);
