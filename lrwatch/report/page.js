"use strict";
// Draws the charts again when somebody zooms, reads or chooses another curve. The numbers are in #data; the measures
// and classes are those of _svg.py, which drew the first picture. All text goes in as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const figures = [...document.querySelectorAll("figure[data-slot]")];
  if (!figures.length) return;
  const LEFT = 104, RIGHT = 14, TOP = 12, BOTTOM = 26, ROW = 22;
  const state = { span: [...data.span], at: null, view: 0, log: new Set(), drag: null };
  document.body.classList.add("live");

  const make = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const titled = (text, name, attributes) => make(name, attributes, make("title", {}, text));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const px = (value) => value.toFixed(1);

  function short(value) {
    if (value === null || value === undefined) return "\u2013";
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(4)));
    if (size >= 1e4 && size < 1e15 && Number.isInteger(value)) return value.toLocaleString("en");
    const [mantissa, exponent] = value.toExponential(3).split("e");
    return `${Number(mantissa)}e${Number(exponent)}`;
  }

  function ticks(low, high, about) {
    const rough = (high - low) / Math.max(about, 1), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k <= high / step + 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
    return found;
  }

  function decades(low, high) {
    const found = [];
    const few = Math.log10(high / low) < 2;
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++)
      for (const m of few ? [1, 2, 5] : [1]) if (m * 10 ** k >= low && m * 10 ** k <= high) found.push(m * 10 ** k);
    while (found.length > 9) found.splice(0, found.length, ...found.filter((_, i) => i % 2 === 0));
    return found.map((v) => Number(v.toPrecision(3)));
  }

  // -- scales ------------------------------------------------------------------------------------

  const plotOf = (figure) => data.plots[data.views[state.view].shows[figure.dataset.slot]];
  const widthOf = (figure) => Math.max(figure.querySelector(".plot").clientWidth, 300);

  function across(figure) {
    const [low, high] = state.span, start = LEFT, end = widthOf(figure) - RIGHT;
    const to = (step) => start + ((step - low) / (high - low)) * (end - start);
    to.back = (pixel) => low + ((pixel - start) / (end - start)) * (high - low);
    return to;
  }

  // The rows to look at: those of the span, and one on either side so that strokes leave the picture properly.
  function within(line) {
    const [low, high] = state.span, inside = line.x.map((step) => step >= low && step <= high);
    return inside.map((here, i) => here || inside[i - 1] || inside[i + 1]
      || (line.x[i] < low && line.x[i + 1] > high) || (line.x[i - 1] < low && line.x[i] > high));
  }

  function upright(plot, height, log) {
    const [first, last] = state.span, seen = [];
    for (const line of plot.lines)
      line.y.forEach((v, i) => { if (v !== null && line.x[i] >= first && line.x[i] <= last && (!log || v > 0)) seen.push(v); });
    if (!seen.length) // zoomed in between two rows
      for (const line of plot.lines) line.y.forEach((v) => { if (v !== null && (!log || v > 0)) seen.push(v); });
    let low = seen.reduce((a, b) => Math.min(a, b), Infinity), high = seen.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!seen.length) [low, high] = [log ? 0.1 : 0, 1];
    if (log) {
      low = Math.max(low, high * 1e-6);
      [low, high] = low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    } else {
      if (plot.least !== null) [low, high] = [Math.min(low, -plot.least), Math.max(high, plot.least)];
      if (low === high) [low, high] = high ? [low - Math.abs(low) * 0.1, high + Math.abs(high) * 0.1] : [-1, 1];
      const air = 0.04 * (high - low);
      [low, high] = [low - air, high + air];
    }
    const share = log ? (v) => Math.log(v / low) / Math.log(high / low) : (v) => (v - low) / (high - low);
    const to = (v) => height - BOTTOM - share(v) * (height - BOTTOM - TOP);
    to.ticks = log ? decades(low, high) : ticks(low, high, Math.max(Math.floor(height / 36), 3));
    to.shows = (v) => v !== null && (!log || v > 0);
    to.keep = log ? (v) => Math.max(v, low) : (v) => v;
    return to;
  }

  // -- drawing -----------------------------------------------------------------------------------

  function draw(figure) {
    const slot = figure.dataset.slot, width = widthOf(figure), height = Number(figure.dataset.height);
    const plot = slot === "when" ? null : plotOf(figure);
    figure.hidden = slot !== "when" && !plot;
    if (figure.hidden) return;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-describedby": "keys",
      "aria-label": `${figure.querySelector("b").textContent} over the steps` });
    const clip = `clip-${figures.indexOf(figure)}`;
    svg.append(make("clipPath", { id: clip }, make("rect", { x: LEFT, y: 0, width: width - RIGHT - LEFT, height })));
    const x = across(figure), inner = make("g", { "clip-path": `url(#${clip})` });
    for (const step of ticks(...state.span, Math.max(width / 120, 2)))
      if (Number.isInteger(step))
        svg.append(make("text", { class: "tick", x: px(x(step)), y: height - 8,
          "text-anchor": x(step) > width - RIGHT - 20 ? "end" : "middle" }, step.toLocaleString("en")));
    if (plot) curves(svg, inner, plot, x, height, width, state.log.has(slot));
    else strip(svg, inner, x, width);
    svg.append(inner, make("g", { class: "overlay" }));
    const old = figure.querySelector("svg"), focused = old === document.activeElement;
    old ? old.replaceWith(svg) : figure.querySelector(".plot").append(svg);
    if (focused) svg.focus({ preventScroll: true });
    listen(figure, svg);
  }

  function curves(svg, inner, plot, x, height, width, log) {
    const y = upright(plot, height, log);
    for (const value of y.ticks) {
      svg.append(make("line", { class: value === 0 ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: px(y(value)), y2: px(y(value)) }));
      svg.append(make("text", { class: "tick", x: LEFT - 8, y: px(y(value) + 4), "text-anchor": "end" }, short(value)));
    }
    const post = (kind, step, said) => inner.append(make("g", { class: kind }, make("title", {}, said),
      make("line", { x1: px(x(step)), x2: px(x(step)), y1: TOP, y2: height - BOTTOM })));
    data.events.forEach((event) => post("event", event.at, event.said));
    if (plot.mark !== null) post("mark", plot.mark, `first bad step ${plot.mark.toLocaleString("en")}`);
    for (const line of plot.lines) {
      const near = within(line);
      let path = "", pen = "M";
      line.x.forEach((step, i) => {
        if (!near[i] || !y.shows(line.y[i])) { pen = "M"; return; }
        if (i && step < line.x[i - 1]) pen = "M";
        path += `${pen}${px(x(step))} ${px(y(y.keep(line.y[i])))}`;
        pen = "L";
      });
      inner.append(make("path", { class: `line ${line.role}`, d: path }));
      const count = near.filter(Boolean).length;
      if (line.role === "validation" || count <= 60)
        line.x.forEach((step, i) => {
          if (near[i] && y.shows(line.y[i]))
            inner.append(make("circle", { class: `dot ${line.role}`, cx: px(x(step)), cy: px(y(y.keep(line.y[i]))), r: 2.5 }));
        });
    }
    for (const step of plot.odd) inner.append(make("path", { class: "odd", d: `M${px(x(step) - 4)} ${TOP + 2}l8 8m0 -8l-8 8` }));
  }

  function strip(svg, inner, x, width) {
    data.rows.forEach((row, i) => {
      const middle = TOP + ROW * i + ROW / 2;
      svg.append(make("text", { class: "name", x: LEFT - 8, y: middle + 4, "text-anchor": "end" },
        make("title", {}, row.name), row.short));
      svg.append(make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: middle, y2: middle }));
      for (const [kind, first, last, said] of row.marks) {
        if (last < state.span[0] || first > state.span[1]) continue;
        const a = clamp(x(first), LEFT, width - RIGHT - 4), b = Math.min(x(last), width - RIGHT);
        inner.append(titled(said, "rect", { class: `bar ${kind}`, x: px(a), y: middle - 6, width: px(Math.max(b - a, 4)), height: 12, rx: 2 }));
      }
    });
  }

  // -- reading -----------------------------------------------------------------------------------

  function nearest(line, step) {
    let best = -1;
    line.x.forEach((x, i) => { if (line.y[i] !== null && (best < 0 || Math.abs(x - step) <= Math.abs(line.x[best] - step))) best = i; });
    return best;
  }

  function read(figure) {
    const overlay = figure.querySelector(".overlay"), legend = figure.querySelector(".legend");
    if (figure.hidden || !overlay) return "";
    overlay.replaceChildren();
    const plot = plotOf(figure), height = Number(figure.dataset.height), x = across(figure);
    if (state.drag) {
      const [a, b] = [...state.drag].sort((p, q) => p - q);
      overlay.append(make("rect", { class: "chosen", x: px(x(a)), y: TOP, width: px(x(b) - x(a)), height: height - TOP - BOTTOM }));
    }
    const entries = [];
    let said = "";
    if (state.at !== null && state.at >= state.span[0] && state.at <= state.span[1])
      overlay.append(make("line", { class: "reading", x1: px(x(state.at)), x2: px(x(state.at)), y1: TOP, y2: height - BOTTOM }));
    if (!plot) return "";
    const y = upright(plot, height, state.log.has(figure.dataset.slot));
    for (const line of plot.lines) {
      const i = state.at === null ? -1 : nearest(line, state.at);
      let text = line.name;
      if (i >= 0) {
        text += ` ${short(line.y[i])}`;
        if (line.x[i] !== state.at) text += ` (step ${line.x[i].toLocaleString("en")})`;
        said += `${line.name} ${short(line.y[i])}. `;
        if (y.shows(line.y[i]) && line.x[i] >= state.span[0] && line.x[i] <= state.span[1])
          overlay.append(make("circle", { class: "spot", cx: px(x(line.x[i])), cy: px(y(y.keep(line.y[i]))), r: 3.5 }));
      }
      const entry = document.createElement("span"), key = document.createElement("i");
      entry.className = "entry";
      key.className = `key ${line.role}`;
      entry.append(key, text);
      entries.push(entry);
    }
    legend.replaceChildren(...entries);
    if (state.at !== null && figure.dataset.slot === "curve") {
      const step = document.createElement("span");
      step.textContent = `step ${state.at.toLocaleString("en")}`;
      legend.prepend(step);
    }
    return said;
  }

  const readAll = () => figures.map(read).join("");

  function rest() {
    const title = document.querySelector('figure[data-slot="curve"] b');
    if (title) title.textContent = data.views[state.view].label;
    figures.forEach(draw);
    readAll();
  }

  // -- moving ------------------------------------------------------------------------------------

  function show(low, high) {
    const [first, last] = data.span, width = clamp(high - low, Math.min(4, last - first), last - first);
    const middle = clamp((low + high) / 2, first + width / 2, last - width / 2);
    state.span = [middle - width / 2, middle + width / 2];
    rest();
  }
  function zoom(by) {
    const [low, high] = state.span, width = (high - low) * by;
    const middle = state.at !== null && state.at >= low && state.at <= high ? state.at : (low + high) / 2;
    const share = (middle - low) / (high - low);
    show(middle - width * share, middle + width * (1 - share));
  }
  const whole = () => show(...data.span);
  const pan = (by) => { const width = state.span[1] - state.span[0]; show(state.span[0] + by * width, state.span[1] + by * width); };

  function step(figure, by) {
    const plot = plotOf(figure) || data.plots[0], line = plot && plot.lines[plot.lines.length - 1];
    if (!line) return;
    const [low, high] = state.span, rows = [...new Set(line.x)].filter((x) => x >= low && x <= high).sort((a, b) => a - b);
    if (!rows.length) return;
    const now = state.at === null ? -1 : rows.findIndex((x) => x >= state.at);
    const big = Math.max(Math.round(rows.length / 100), 1);
    const next = state.at === null ? (by > 0 ? 0 : rows.length - 1) : clamp((now < 0 ? rows.length - 1 : now) + by * big, 0, rows.length - 1);
    state.at = rows[next];
    document.getElementById("reading").textContent = `Step ${state.at}. ${readAll()}`;
  }

  function logarithmic(figure) {
    const button = figure.querySelector(".log"), slot = figure.dataset.slot;
    if (!button) return;
    if (!state.log.delete(slot)) state.log.add(slot);
    button.setAttribute("aria-pressed", state.log.has(slot));
    draw(figure);
    read(figure);
  }

  function listen(figure, svg) {
    const place = (event) => {
      const box = svg.getBoundingClientRect();
      return clamp(across(figure).back(((event.clientX - box.left) / box.width) * widthOf(figure)), ...state.span);
    };
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      svg.setPointerCapture(event.pointerId);
      state.drag = [place(event), place(event)];
    });
    svg.addEventListener("pointermove", (event) => {
      const plot = plotOf(figure) || data.plots[0], where = place(event);
      if (state.drag) state.drag[1] = where;
      const line = plot && plot.lines[plot.lines.length - 1], i = line ? nearest(line, where) : -1;
      state.at = i >= 0 ? line.x[i] : Math.round(where);
      readAll();
    });
    const done = (event) => {
      if (!state.drag) return;
      const [a, b] = [...state.drag].sort((p, q) => p - q);
      state.drag = null;
      if (event.type === "pointerup" && across(figure)(b) - across(figure)(a) > 6) show(a, b);
      else readAll();
    };
    svg.addEventListener("pointerup", done);
    svg.addEventListener("pointercancel", done);
    svg.addEventListener("pointerleave", () => { if (!state.drag) { state.at = null; readAll(); } });
    svg.addEventListener("dblclick", whole);
    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = {
        ArrowLeft: () => (event.shiftKey ? pan(-0.2) : step(figure, -1)),
        ArrowRight: () => (event.shiftKey ? pan(0.2) : step(figure, 1)),
        "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: whole, Escape: whole,
        l: () => logarithmic(figure), L: () => logarithmic(figure),
      }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
  }

  // -- the rest of the page ------------------------------------------------------------------------

  for (const figure of figures) {
    const button = figure.querySelector(".log");
    if (button) button.addEventListener("click", () => logarithmic(figure));
  }
  const choice = document.getElementById("view");
  const choose = (view) => { state.view = view; if (choice) choice.value = view; };
  if (choice) choice.addEventListener("change", () => { choose(Number(choice.value)); rest(); });
  for (const button of document.querySelectorAll("[data-do]"))
    button.addEventListener("click", { in: () => zoom(0.5), out: () => zoom(2), all: whole }[button.dataset.do]);
  for (const button of document.querySelectorAll("[data-finding]"))
    button.addEventListener("click", () => {
      const finding = data.findings[Number(button.dataset.finding)], last = finding.last ?? finding.first;
      if (finding.view !== null) choose(finding.view);
      const air = Math.max((last - finding.first) * 0.1, 10);
      show(finding.first - air, last + air);
      document.getElementById("charts").scrollIntoView();
    });
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  new ResizeObserver(rest).observe(document.getElementById("charts"));
  rest();
})();
