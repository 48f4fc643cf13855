"use strict";
// Draws the plots, follows the theme, keeps the plots of a run on one axis of time, and opens what is known of a trade.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  const plots = [];

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // A name on lines of some 20 characters, broken at spaces, for a narrow screen.
  function wrapped(name) {
    const lines = [""];
    for (const word of name.split(" ")) {
      if (lines.at(-1) && lines.at(-1).length + word.length > 20) lines.push("");
      lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
    }
    return lines.join("<br>");
  }

  function themed(plot) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line") };
    const wanted = {
      paper_bgcolor: colour("--paper"), plot_bgcolor: colour("--paper"), font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 12 },
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") }, namelength: 60 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)", font: { size: 11 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: colour("--accent") },
      margin: { l: narrow.matches ? 48 : 64, r: 12, t: 24, b: 40 }, height: plot.figure.height, autosize: true, bargap: 0.1,
    };
    const layout = Object.assign({}, wanted, plot.figure.layout);
    layout.xaxis = Object.assign({ automargin: true }, axis, plot.figure.layout.xaxis);
    layout.yaxis = Object.assign({ automargin: true }, axis, plot.figure.layout.yaxis);
    if (plot.figure.is_time) {
      layout.xaxis.type = "date";
      layout.xaxis.range = plot.range || plot.run.range;
      layout.hovermode = "closest";
      layout.yaxis.domain = plot.run.strip.length ? [0.07, 1] : [0, 1];
      layout.xaxis.anchor = plot.run.strip.length ? "y2" : "y";
      layout.yaxis2 = { domain: [0, 0.04], fixedrange: true, showticklabels: false, ticks: "", showgrid: false, zeroline: false };
    }
    if (plot.figure.is_time && !narrow.matches) { // one beside the other, the plots over time have their axes in one line
      layout.margin = Object.assign({}, layout.margin, { l: plot.run.margin });
      layout.yaxis.automargin = false;
    }
    const names = plot.figure.layout.yaxis?.categoryarray ?? (plot.figure.traces[0]?.orientation === "h" ? plot.figure.traces[0].y : null);
    if (narrow.matches && names) {
      layout.yaxis.tickvals = names;
      layout.yaxis.ticktext = names.map(wrapped);
      layout.yaxis.tickfont = { size: 9 };
    }
    if (narrow.matches && plot.figure.traces.length > 6) layout.showlegend = false;
    return layout;
  }

  function traces(plot) {
    const found = plot.figure.traces.map((one) => Object.assign({}, one));
    if (plot.figure.is_time && plot.run.strip.length) {
      const [from, to] = plot.run.range, cells = plot.run.strip.length;
      found.push({
        type: "heatmap", z: [plot.run.strip], x0: from + (to - from) / cells / 2, dx: (to - from) / cells, y: ["feeds"], yaxis: "y2", zmin: 0, zmax: 1,
        showscale: false, colorscale: [[0, "#a61e4d"], [0.5, "#e9c46a"], [1, "#2a9d6f"]], hovertemplate: "%{x}<br>%{z:.0%} of feeds live<extra></extra>",
      });
    }
    return found;
  }

  // The buttons are named one by one: the library's own set has one that opens a page of its makers with the plot's data.
  const options = {
    displaylogo: false, responsive: true, scrollZoom: false, showSendToCloud: false, plotlyServerURL: "", typesetMath: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };

  function draw(plot) {
    return Plotly.react(plot.box, traces(plot), themed(plot), options);
  }

  // One axis of time for all plots of a run.
  let busy = false;
  function follow(plot, change) {
    if (busy) return;
    const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0], to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
    const all = change["xaxis.autorange"] === true;
    if (from === undefined && !all) return;
    busy = true;
    const range = all ? plot.run.range : [from, to];
    const moved = plots.filter((one) => one.run === plot.run && one.figure.is_time).map((one) => {
      one.range = range;
      return one.drawn ? Plotly.relayout(one.box, { "xaxis.range": range.slice() }) : null;
    });
    Promise.all(moved).finally(() => { busy = false; });
  }

  function start(plot) {
    if (plot.drawn) return;
    plot.drawn = true;
    draw(plot).then(() => {
      plot.box.on("plotly_relayout", (change) => follow(plot, change));
      plot.box.on("plotly_click", (event) => {
        const number = event.points[0]?.customdata;
        if (number !== undefined && number !== null) show(plot.run, number);
      });
      plot.box.dataset.drawn = "yes";
    });
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) start(plots[Number(entry.target.dataset.plot)]);
  }, { rootMargin: "600px" });

  function isNumber(cell) {
    return cell === null || typeof cell === "number" || /^[-+]?[0-9][0-9,]*(\.[0-9]+)?$/.test(cell);
  }

  function table(columns, rows) {
    const box = document.createElement("div"), made = document.createElement("table");
    box.className = "scroll";
    const numbers = columns.map((_, at) => rows.length > 0 && rows.every((row) => isNumber(row[at])));
    const head = made.createTHead().insertRow();
    columns.forEach((name, at) => {
      const cell = document.createElement("th");
      cell.textContent = name;
      if (numbers[at]) cell.className = "number";
      head.append(cell);
    });
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((value, at) => {
        const cell = line.insertCell();
        cell.textContent = value === null ? "-" : String(value);
        if (numbers[at]) cell.className = "number";
      });
    }
    box.append(made);
    return box;
  }

  // What is known of a trade, and how to ask for the rest.
  const dialog = document.getElementById("trade");
  function show(run, number) {
    const panel = run.panels[number], body = dialog.querySelector(".body");
    dialog.querySelector("h1").textContent = `Bundle ${number} of ${run.name}`;
    if (shown !== null) Plotly.purge(shown.box);
    shown = null;
    body.replaceChildren();
    if (panel === undefined) {
      const note = document.createElement("p");
      note.textContent = `The page holds the ${run.panels_kept} bundles that changed most of ${run.panels_of}. Ask for the others with xarb why, or write the page again with a larger --trades.`;
      body.append(note);
    } else {
      if (panel.quotes !== null) quotes(panel.quotes, body);
      for (const [title, columns, rows] of panel.tables) {
        const head = document.createElement("h3");
        head.textContent = title;
        body.append(head, table(columns, rows));
      }
    }
    dialog.showModal();
    dialog.scrollTop = 0;
    drawQuotes();
  }

  // Best prices of the trade's markets around its decision, bids as lines and asks as dots, with the fills as we heard of them.
  const palette = ["#2b8fd0", "#d98200", "#159a72", "#cc6fa3", "#8a70d6", "#e0611f"];
  let shown = null;
  function quotes(told, body) {
    const head = document.createElement("h3"), note = document.createElement("p"), box = document.createElement("div");
    head.textContent = "Quotes around the decision";
    note.textContent = "Best bid (line) and ask (dotted) as we received them, the decision at 0, and fills as we heard of them. Of a book that is told by its changes, bid (dot) and ask (ring) at the decision.";
    box.className = "plot";
    body.append(head, note, box);
    const traces = told.markets.flatMap((market, at) => ["bid", "ask"].map((side) => ({
      type: "scatter", mode: market.t.length > 1 ? "lines" : "markers", name: `${market.name} ${side}`, x: market.t, y: market[side],
      line: { shape: "hv", color: palette[at % palette.length], width: 1.5, dash: side === "bid" ? "solid" : "dot" },
      marker: { color: palette[at % palette.length], size: 9, symbol: side === "bid" ? "circle" : "circle-open" },
    })));
    for (const [side, symbol] of [["buy", "triangle-up"], ["sell", "triangle-down"]]) {
      const fills = told.fills.filter((one) => one.side === side);
      if (fills.length) traces.push({
        type: "scatter", mode: "markers", name: side, x: fills.map((one) => one.t), y: fills.map((one) => one.price), text: fills.map((one) => one.text),
        marker: { symbol, size: 11, color: side === "buy" ? "#159a72" : "#e0611f", line: { width: 1, color: colour("--ink") } },
      });
    }
    const line = { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { dash: "dash", width: 1, color: colour("--faint") } };
    const layout = { xaxis: { title: { text: "ms since the decision" } }, yaxis: { title: { text: "price" }, tickformat: "" }, shapes: [line] };
    shown = { box, run: null, figure: { traces, layout, height: 320, is_time: false }, drawn: true };
  }
  function drawQuotes() {
    if (shown !== null) draw(shown);
  }
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  for (const line of document.querySelectorAll("tr.trade")) {
    const open = () => show(data.runs[Number(line.dataset.run)], Number(line.dataset.bundle));
    line.tabIndex = 0;
    line.addEventListener("click", open);
    line.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  }

  // A click on a column's head sorts the table by it, another one the other way round.
  for (const head of document.querySelectorAll("th[data-sort]")) {
    head.addEventListener("click", () => {
      const body = head.closest("table").tBodies[0], at = head.cellIndex, up = head.dataset.sort !== "up";
      const value = (line) => line.cells[at].dataset.value ?? line.cells[at].textContent;
      const numeric = head.className === "number";
      const key = (line) => (numeric ? (value(line) === "-" ? -Infinity : Number(value(line))) : value(line));
      const lines = Array.from(body.rows).sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (up ? 1 : -1));
      head.dataset.sort = up ? "up" : "down";
      body.append(...lines);
    });
  }

  function theme(name) {
    root.dataset.theme = name;
    for (const plot of plots) if (plot.drawn) draw(plot);
    if (shown !== null && dialog.open) draw(shown);
  }
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
  narrow.addEventListener("change", () => { for (const plot of plots) if (plot.drawn) draw(plot); });

  for (const box of document.querySelectorAll("[data-figure]")) {
    const run = box.dataset.run === undefined ? data.compared : data.runs[Number(box.dataset.run)];
    const plot = { box, run, figure: run.figures[box.dataset.figure], drawn: false };
    box.style.minHeight = `${plot.figure.height}px`;
    box.dataset.plot = plots.length;
    plots.push(plot);
    seen.observe(box);
  }
})();
