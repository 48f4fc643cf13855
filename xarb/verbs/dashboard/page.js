"use strict";
// Shows what the server pushes, part by part; every text of it is set as text. Nothing is reckoned here.
(() => {
  const root = document.documentElement;
  const at = (id) => document.getElementById(id);

  function made(name, text, kind) {
    const one = document.createElement(name);
    if (text !== undefined) one.textContent = text;
    if (kind) one.className = kind;
    return one;
  }

  function say(id, text, tone) {
    const one = at(id);
    one.hidden = text === null || text === undefined || text === "";
    one.textContent = one.hidden ? "" : text;
    if (tone) one.dataset.tone = tone; else delete one.dataset.tone;
  }

  // --- tables: one box for each, which stays, so that what was scrolled to stays in sight

  const isNumber = (cell) => cell === "-" || /^[-+]?[0-9][0-9,]*(\.[0-9]+)?( [A-Z0-9]{2,8})?$/.test(cell);

  const isTime = (cell) => /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$/.test(cell);

  function filled(box, told) {
    const text = JSON.stringify(told);
    if (box.dataset.told === text) return;
    box.dataset.told = text;
    const numbers = told.columns.map((_, n) => told.rows.every((row) => isNumber(row[n])) && told.rows.some((row) => row[n] !== "-"));
    const grid = made("table"), head = grid.createTHead().insertRow(), body = grid.createTBody();
    told.columns.forEach((name, n) => head.append(made("th", name, numbers[n] ? "number" : "")));
    for (const row of told.rows) {
      const line = body.insertRow();
      row.forEach((cell, n) => line.append(made("td", cell, numbers[n] ? "number" : isTime(cell) ? "time" : "")));
    }
    box.querySelector("h3").textContent = told.title;
    box.querySelector(".scroll").replaceChildren(grid);
  }

  function tables(id, all) {
    const home = at(id), known = new Map([...home.children].map((box) => [box.dataset.key, box]));
    const boxes = all.map((told) => {
      let box = known.get(told.key);
      if (box === undefined) {
        box = made("div");
        box.dataset.key = told.key;
        const scroll = made("div", undefined, "scroll");
        scroll.tabIndex = 0;
        box.append(made("h3"), scroll);
      }
      filled(box, told);
      return box;
    });
    if (boxes.length !== home.children.length || boxes.some((box, n) => home.children[n] !== box)) home.replaceChildren(...boxes);
    home.closest("section").hidden = all.length === 0;
  }

  // --- the curve of what was earned

  function drawn(name, some, text) {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(some)) one.setAttribute(key, value);
    if (text !== undefined) one.textContent = text;
    return one;
  }

  const time = (ms, span) => {
    const text = new Date(ms).toISOString();
    return span > 172800000 ? text.slice(5, 16).replace("T", " ") : span > 600000 ? text.slice(11, 16) : text.slice(11, 19);
  };

  function steps(low, high, count) {
    const raw = (high - low) / count, unit = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find((one) => one * unit >= raw) * unit, found = [];
    for (let one = Math.ceil(low / step); one * step <= high; one += 1) found.push(one * step);
    return { found, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  function curve(box, told) {
    const svg = box.querySelector("svg"), width = svg.clientWidth || 600, height = svg.clientHeight || 220;
    const pad = { l: 58, r: 10, t: 8, b: 22 }, points = told.points, from = points[0][0], to = Math.max(points.at(-1)[0], from + 1);
    let low = Math.min(...points.map((one) => one[1])), high = Math.max(...points.map((one) => one[1]));
    if (low === high) { low -= 1; high += 1; }
    const x = (ms) => pad.l + (ms - from) / (to - from) * (width - pad.l - pad.r), y = (value) => height - pad.b - (value - low) / (high - low) * (height - pad.t - pad.b);
    const made_ = [], { found, decimals } = steps(low, high, 4);
    for (const value of found) {
      made_.push(drawn("line", { x1: pad.l, x2: width - pad.r, y1: y(value), y2: y(value), class: Math.abs(value) < 1e-12 ? "zero" : "grid" }));
      made_.push(drawn("text", { x: pad.l - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(decimals)));
    }
    const marks = width < 500 ? 2 : 5;
    for (let n = 0; n <= marks; n += 1) {
      const ms = from + (to - from) * n / marks, anchor = n === 0 ? "start" : n === marks ? "end" : "middle";
      made_.push(drawn("text", { x: x(ms), y: height - 6, "text-anchor": anchor }, time(ms, to - from)));
    }
    let path = "";
    points.forEach(([ms, value], n) => { path += n === 0 ? `M${x(ms).toFixed(1)} ${y(value).toFixed(1)}` : `H${x(ms).toFixed(1)}V${y(value).toFixed(1)}`; });
    const ground = y(Math.min(Math.max(0, low), high)).toFixed(1);
    made_.push(drawn("path", { d: `${path}V${ground}H${x(from).toFixed(1)}Z`, class: "area" }), drawn("path", { d: path, class: "line" }));
    svg.replaceChildren(...made_);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    box.reading = (px) => { // the value at a place, as the pointer or a finger has it
      const ms = from + (px - pad.l) / (width - pad.l - pad.r) * (to - from);
      const one = points.findLast((point) => point[0] <= ms) ?? points[0];
      svg.querySelectorAll(".mark, .dot").forEach((old) => old.remove());
      svg.append(drawn("line", { x1: x(one[0]), x2: x(one[0]), y1: pad.t, y2: height - pad.b, class: "mark" }), drawn("circle", { cx: x(one[0]), cy: y(one[1]), r: 3.5, class: "dot" }));
      box.querySelector("figcaption span").textContent = `${new Date(one[0]).toISOString().replace("T", " ").slice(0, 23)}: ${one[1]}`;
    };
  }

  let lastCurves = [];
  function curves(all) {
    lastCurves = all;
    const home = at("curves");
    while (home.children.length > all.length) home.lastChild.remove();
    all.forEach((told, n) => {
      let box = home.children[n];
      if (box === undefined) {
        box = made("figure");
        const head = made("figcaption");
        head.append(made("b"), made("span"));
        const svg = drawn("svg", { role: "img" });
        svg.addEventListener("pointermove", (event) => box.reading(event.clientX - svg.getBoundingClientRect().left));
        box.append(head, svg);
        home.append(box);
      }
      box.querySelector("b").textContent = `Trading PnL, ${told.currency}`;
      box.querySelector("svg").setAttribute("aria-label", `Trading PnL, ${told.currency}, over time`);
      curve(box, told);
    });
  }

  // --- the parts

  const parts = {
    server: (told) => { at("kill").hidden = !told.may_kill || token === null; },
    progress: (told) => say("progress", told === null ? null : `Replaying: ${told[0]} of ${told[1]} inputs`),
    trouble: (told) => say("trouble", told),
    troubles: (told) => {
      at("troubles").hidden = told.length === 0;
      at("troubles").replaceChildren(...told.map((one) => made("li", one)));
    },
    head: (told) => {
      document.title = `${told.name}: ${told.state}`;
      say("name", told.name);
      say("state", { running: "running", silent: "silent", ended: "over: this start has ended", finished: "over: a finished run" }[told.state], { running: "good", silent: "bad" }[told.state]);
      const live = told.state === "running" || told.state === "silent";
      say("armed", live ? (told.armed.startsWith("yes") ? "armed" : "disarmed") : null, told.armed?.startsWith("yes") ? "good" : "wait");
      say("killed", told.kind === "run" ? null : told.killed === null ? "not killed" : `killed: ${told.killed}`, told.killed === null ? undefined : "bad");
      say("about", `${told.about}. ${told.from} to ${told.to}. ${told.proven ? "Proven: " : "Not proven: "}${told.proof}.`);
    },
    tiles: (all) => at("tiles").replaceChildren(...all.map((told) => {
      const box = made("div", undefined, "tile"), value = made("b", told.value);
      if (told.tone) value.dataset.tone = told.tone;
      box.append(made("span", told.what), value, made("span", told.note));
      return box;
    })),
    curves,
    busy: (all) => tables("busy", all),
    earned: (all) => tables("earned", all),
    standing: (all) => tables("standing", all),
    slow: (told) => { at("as_of").textContent = `as of ${told.as_of}`; tables("slow", told.tables); },
  };

  // --- the stream; the browser comes back by itself, and gets everything anew

  let heard = Date.now();
  const stream = new EventSource("/events");
  const linked = (is) => {
    document.body.classList.toggle("lost", !is);
    say("link", is ? "connected" : "not connected", is ? "good" : "bad");
  };
  stream.addEventListener("open", () => { heard = Date.now(); linked(true); });
  stream.addEventListener("error", () => linked(false));
  stream.addEventListener("beat", () => { heard = Date.now(); });
  for (const [name, show] of Object.entries(parts)) stream.addEventListener(name, (event) => {
    heard = Date.now();
    show(JSON.parse(event.data));
    root.dataset.shown = `${root.dataset.shown ?? ""} ${name}`.trim().split(" ").filter((one, n, all) => all.indexOf(one) === n).join(" ");
  });
  setInterval(() => { if (Date.now() - heard > 30000) linked(false); }, 1000);

  // --- the kill: its token comes in the address, behind the #, which no browser sends

  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token"); // of this tab, which a phone loads anew at will
  if (location.hash) history.replaceState(null, "", location.pathname);
  if (token !== null) sessionStorage.setItem("token", token);
  at("kill").addEventListener("click", () => { say("answer", null); at("asked").showModal(); });
  at("do").addEventListener("click", async () => {
    const level = document.querySelector("input[name=level]:checked").value;
    at("do").disabled = true;
    say("answer", `asking for a kill to ${level}...`, "wait");
    try {
      const answer = await fetch("/kill", { method: "POST", headers: { "Content-Type": "application/json", "X-Xarb-Token": token }, body: JSON.stringify({ level }) });
      say("answer", (await answer.text()).trim(), answer.ok ? "good" : "bad");
    } catch {
      say("answer", "the server does not answer: kill from a shell", "bad");
    }
    at("do").disabled = false;
  });

  // --- light and dark, and the width

  const dark = matchMedia("(prefers-color-scheme: dark)");
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", (event) => { root.dataset.theme = event.matches ? "dark" : "light"; });
  at("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });
  addEventListener("resize", () => curves(lastCurves));
})();
