"use strict";
// A small chart: axes, lines, marks with bars, arrows, a tooltip. Colours are the page's variables, so that themes change
// them without drawing anew.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes; texts are text, never markup. */
function shape(name, attributes = {}, text) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) found.setAttribute(key, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

/** An HTML element with attributes and children, which are elements or texts. */
function element(name, attributes = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) found.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) found.setAttribute(key, value === true ? "" : value);
  }
  found.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return found;
}

/** A number with three significant digits and no exponent. */
function digits(value, count = 3) {
  if (!value || !isFinite(value)) return String(value);
  const places = Math.max(0, count - 1 - Math.floor(Math.log10(Math.abs(value))));
  return Number(value.toPrecision(count)).toFixed(Math.min(places, 12));
}

/** MACs with a unit, milliseconds as µs where they are few. */
const macs = value => value >= 1e9 ? `${digits(value / 1e9)} G` : value >= 1e6 ? `${digits(value / 1e6)} M`
  : value >= 1e3 ? `${digits(value / 1e3)} k` : String(value);
const time = ms => ms < 1 ? `${digits(1000 * ms)} µs` : `${digits(ms)} ms`;
const plain = value => String(Number(value.toPrecision(3)));

const MARKS = {
  circle: r => `M${-r},0a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0`,
  square: r => `M${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  diamond: r => `M0,${-1.3 * r}L${1.3 * r},0L0,${1.3 * r}L${-1.3 * r},0z`,
  triangle: r => `M0,${-1.25 * r}L${1.15 * r},${0.85 * r}H${-1.15 * r}z`,
  cross: r => `M${-r / 2.4},${-r}h${r / 1.2}v${r / 1.7}h${r / 1.7}v${r / 1.2}h${-r / 1.7}v${r / 1.7}h${-r / 1.2}v${-r / 1.7}h${-r / 1.7}v${-r / 1.2}h${r / 1.7}z`,
  x: r => `M${-r},${-r}L${r},${r}M${-r},${r}L${r},${-r}`,
  star: r => Array.from({length: 10}, (_, i) => {
    const [reach, angle] = [i % 2 ? 0.62 * r : 1.5 * r, Math.PI * (i / 5 - 0.5)];
    return `${i ? "L" : "M"}${reach * Math.cos(angle)},${reach * Math.sin(angle)}`;
  }).join("") + "z",
};

/** Ticks of an axis: 1, 2, 5 within decades where it is logarithmic, else round steps. */
function ticks([low, high], log, count) {
  if (log) {
    for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]]) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const step of steps) if (step * 10 ** power >= low && step * 10 ** power <= high) found.push(step * 10 ** power);
      if (found.length >= Math.min(4, count)) return thinned(found, count);
    }
  }
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) found.push(n * step);
  return found;
}

function thinned(values, most) {
  const step = Math.ceil(values.length / most);
  return values.filter((_, i) => i % step === 0);
}

/** Scale of values in `domain` to pixels in `range`. */
function scale(domain, range, log) {
  const [a, b] = log ? domain.map(Math.log) : domain;
  return value => range[0] + ((log ? Math.log(value) : value) - a) / (b - a || 1) * (range[1] - range[0]);
}

/**
 * Draws `spec` into `host` and draws it anew when the width changes. `spec`: x and y {label, domain, log, text}, `lines`
 * [{points, colour, dash, width, steps}], `marks` [{x, y, look, colour, size, hollow, faint, ring, bars, side, title, lines, press}],
 * `arrows` [[x, y, x, y]], `height`, `label` for those who do not see it.
 */
function plot(host, spec) {
  host.replaceChildren();
  host.classList.add("plot");
  const svg = shape("svg", {role: "img", "aria-label": spec.label, tabindex: spec.marks.length ? 0 : undefined});
  const tip = element("div", {class: "tip", hidden: true, role: "status"});
  host.append(svg, tip);
  const chart = {svg, tip, spec, at: -1, places: []};
  let width = 0;
  const draw = () => {
    const now = Math.round(host.clientWidth);
    if (!now || now === width) return;
    width = now;
    drawChart(chart, width);
  };
  new ResizeObserver(draw).observe(host);
  draw();
  listen(chart, host);
  chart.redraw = now => { chart.spec = now; if (width) drawChart(chart, width); };
  return chart;
}

function drawChart(chart, width) {
  const {svg, spec} = chart, height = spec.height || Math.max(260, Math.min(400, 0.62 * width));
  const box = {left: 52, right: width - 12, top: 12, bottom: height - 46};
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const x = scale(spec.x.domain, [box.left, box.right], spec.x.log);
  const y = scale(spec.y.domain, [box.bottom, box.top], spec.y.log);
  axes(svg, spec, box, x, y, width);
  const clip = `clip${Math.random().toString(36).slice(2)}`;
  const region = shape("clipPath", {id: clip});
  region.append(shape("rect", {x: box.left - 8, y: box.top - 10, width: box.right - box.left + 18, height: box.bottom - box.top + 12}));
  const inside = shape("g", {"clip-path": `url(#${clip})`});
  svg.append(region, inside);
  for (const line of spec.lines || []) inside.append(drawnLine(line, x, y));
  for (const arrow of spec.arrows || []) inside.append(...drawnArrow(arrow, x, y));
  chart.places = spec.marks.map(mark => drawnMark(inside, mark, x, y));
  for (const text of spec.texts || []) inside.append(shape("text", {x: x(text.x), y: y(text.y) + (text.dy || 0), "text-anchor": text.anchor || "start", style: text.colour && `fill:${text.colour}`}, text.text));
}

function axes(svg, spec, box, x, y, width) {
  const grid = shape("g", {style: "stroke:var(--line);stroke-width:1"}), texts = shape("g", {style: "fill:var(--faint)"});
  for (const value of ticks(spec.y.domain, spec.y.log, 6)) {
    grid.append(shape("path", {d: `M${box.left},${y(value)}H${box.right}`}));
    texts.append(shape("text", {x: box.left - 7, y: y(value) + 4, "text-anchor": "end"}, (spec.y.text || plain)(value)));
  }
  for (const value of ticks(spec.x.domain, spec.x.log, Math.max(3, Math.floor(width / 75)))) {
    grid.append(shape("path", {d: `M${x(value)},${box.bottom}v5`}));
    texts.append(shape("text", {x: x(value), y: box.bottom + 19, "text-anchor": "middle"}, (spec.x.text || plain)(value)));
  }
  grid.append(shape("path", {d: `M${box.left},${box.bottom}H${box.right}`}));
  texts.append(shape("text", {x: box.right, y: box.bottom + 38, "text-anchor": "end"}, spec.x.label));
  svg.append(grid, texts);
}

function drawnLine(line, x, y) {
  const places = line.points.map(([a, b]) => [x(a), y(b)]);
  const d = places.map(([a, b], i) => !i ? `M${a},${b}` : line.steps ? `H${a}V${b}` : `L${a},${b}`).join("");
  return shape("path", {d, style: `fill:none;stroke:${line.colour};stroke-width:${line.width || 2};stroke-linejoin:round;opacity:${line.opacity || 1}`, "stroke-dasharray": line.dash});
}

/** A thin curve with a head, from what a student was made of to what it became. */
function drawnArrow([x0, y0, x1, y1], x, y) {
  const [a, b, c, d] = [x(x0), y(y0), x(x1), y(y1)];
  const length = Math.hypot(c - a, d - b);
  if (length < 14) return [];
  const [ux, uy] = [(c - a) / length, (d - b) / length], bend = Math.min(16, length / 6);
  const [mx, my] = [(a + c) / 2 - uy * bend, (b + d) / 2 + ux * bend];
  const [tx, ty] = [c - mx, d - my], reach = Math.hypot(tx, ty), [vx, vy] = [tx / reach, ty / reach];
  const [ex, ey] = [c - 9 * vx, d - 9 * vy], [hx, hy] = [ex - 6 * vx, ey - 6 * vy];
  return [
    shape("path", {d: `M${a},${b}Q${mx},${my} ${hx},${hy}`, style: "stroke:var(--faint);stroke-width:1.2;fill:none;opacity:.7"}),
    shape("path", {d: `M${hx - 3.2 * vy},${hy + 3.2 * vx}L${ex},${ey}L${hx + 3.2 * vy},${hy - 3.2 * vx}z`, style: "fill:var(--faint);opacity:.85"}),
  ];
}

function drawnMark(host, mark, x, y) {
  const [cx, cy] = [x(mark.x), y(mark.y)], style = `stroke:${mark.colour};stroke-width:1.2;opacity:.55`;
  if (mark.bars) host.append(shape("path", {d: `M${cx},${y(mark.bars[0])}V${y(mark.bars[1])}`, style}));
  if (mark.side) host.append(shape("path", {d: `M${x(mark.side[0])},${cy}H${x(mark.side[1])}`, style}));
  if (mark.ring) host.append(shape("circle", {cx, cy, r: mark.size + 5, style: "fill:none;stroke:var(--warn);stroke-width:1.3", "stroke-dasharray": "3 2"}));
  const open = mark.hollow || mark.look === "x";
  host.append(shape("path", {
    d: MARKS[mark.look](mark.size), transform: `translate(${cx},${cy})`, class: "mark",
    style: `fill:${open ? "var(--raised)" : mark.colour};stroke:${open ? mark.colour : "var(--raised)"};stroke-width:${open ? 1.8 : 1};opacity:${mark.faint ? 0.55 : 1};${mark.press ? "cursor:pointer" : ""}`,
  }));
  return [cx, cy];
}

/** The tooltip follows the pointer, a finger, and the arrow keys. */
function listen(chart, host) {
  const {svg} = chart;
  const nearest = event => {
    const frame = svg.getBoundingClientRect(), ratio = svg.viewBox.baseVal.width / frame.width;
    const [px, py] = [(event.clientX - frame.left) * ratio, (event.clientY - frame.top) * ratio];
    let best = -1, least = 24;
    chart.places.forEach(([x, y], i) => {
      const away = Math.hypot(x - px, y - py) + (chart.spec.marks[i].faint ? 5 : 0);
      if (away < least) [best, least] = [i, away];
    });
    return best;
  };
  svg.addEventListener("pointermove", event => tell(chart, host, nearest(event)));
  svg.addEventListener("pointerleave", () => tell(chart, host, -1));
  svg.addEventListener("click", event => {
    const found = nearest(event);
    tell(chart, host, found);
    if (found >= 0 && event.pointerType !== "touch") chart.spec.marks[found].press?.();
  });
  svg.addEventListener("blur", () => tell(chart, host, -1));
  svg.addEventListener("keydown", event => {
    const order = chart.spec.marks.map((_, i) => i).filter(i => !chart.spec.marks[i].faint).sort((a, b) => chart.places[a][0] - chart.places[b][0]);
    const step = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1}[event.key];
    if (step && order.length) {
      const now = order.indexOf(chart.at);
      tell(chart, host, order[now < 0 ? (step > 0 ? 0 : order.length - 1) : (now + step + order.length) % order.length]);
      event.preventDefault();
    } else if (event.key === "Enter" && chart.at >= 0) chart.spec.marks[chart.at].press?.();
    else if (event.key === "Escape") tell(chart, host, -1);
  });
}

function tell(chart, host, found) {
  const {tip, svg, spec} = chart;
  if (found === chart.at) return;
  chart.at = found;
  svg.querySelector(".halo")?.remove();
  tip.hidden = found < 0;
  svg.style.cursor = found >= 0 && spec.marks[found].press ? "pointer" : "";
  if (found < 0) return;
  const mark = spec.marks[found], [x, y] = chart.places[found], ratio = host.clientWidth / svg.viewBox.baseVal.width;
  svg.append(shape("circle", {class: "halo", cx: x, cy: y, r: mark.size + 4, style: "fill:none;stroke:var(--ink);stroke-width:1.5;pointer-events:none"}));
  tip.replaceChildren(element("b", {}, mark.title), ...mark.lines.map(line => element("div", {}, line)));
  const left = x * ratio > host.clientWidth / 2;
  tip.style.left = left ? "" : `${x * ratio + 14}px`;
  tip.style.right = left ? `${host.clientWidth - x * ratio + 14}px` : "";
  tip.style.maxWidth = `min(21rem, ${(left ? x * ratio : host.clientWidth - x * ratio) - 18}px)`;
  const above = y * ratio + tip.offsetHeight + 20 > svg.clientHeight;
  tip.style.top = `${Math.max(0, above ? y * ratio - tip.offsetHeight - 8 : y * ratio + 10)}px`;
}

/** A figure with a heading, buttons that download it, and a chart. `csv` gives rows of cells, the first a header. */
function figure(heading, under, name, csv) {
  const host = element("div");
  const buttons = element("span", {class: "push"},
    ...[["SVG", () => saveSvg(host, name)], ["PNG", () => savePng(host, name)], ["CSV", () => saveCsv(csv(), name)]].map(
      ([kind, save]) => element("button", {type: "button", onclick: save, "aria-label": `Download ${heading} as ${kind}`}, kind)));
  return {host, frame: element("figure", {}, element("figcaption", {}, heading, under ? element("small", {}, under) : "", buttons), host)};
}

function save(blob, name) {
  const link = element("a", {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** The drawing with the colours of the theme, to stand alone. */
function standalone(host) {
  const svg = host.querySelector("svg").cloneNode(true), style = getComputedStyle(document.documentElement);
  svg.querySelector(".halo")?.remove();
  const {width, height} = host.querySelector("svg").viewBox.baseVal;
  const values = new Set([...svg.outerHTML.matchAll(/var\((--[a-z-]+)\)/g)].map(found => found[1]).concat("--faint"));
  svg.setAttribute("xmlns", SVG);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  let text = svg.outerHTML.replace(/^(<svg[^>]*>)/, `$1<style>text{font:12px sans-serif;fill:${style.getPropertyValue("--faint")}}</style><rect width="100%" height="100%" fill="${style.getPropertyValue("--raised").trim()}"/>`);
  for (const name of values) text = text.replaceAll(`var(${name})`, style.getPropertyValue(name).trim());
  return {text, width, height};
}

function saveSvg(host, name) {
  save(new Blob([standalone(host).text], {type: "image/svg+xml"}), `${name}.svg`);
}

function savePng(host, name) {
  const {text, width, height} = standalone(host), image = new Image();
  image.onload = () => {
    const canvas = element("canvas", {width: 2 * width, height: 2 * height});
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
    canvas.toBlob(blob => save(blob, `${name}.png`), "image/png");
  };
  image.src = URL.createObjectURL(new Blob([text], {type: "image/svg+xml"}));
}

/** Cells with a comma, a quote or a line end are quoted; those that a spreadsheet would take for a formula get an apostrophe. */
function csvText(rows) {
  const cell = value => {
    let text = value === null || value === undefined ? "" : String(value);
    if (/^[=+@\t\r]/.test(text) || /^-[^\d.]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map(row => row.map(cell).join(",")).join("\n") + "\n";
}

function saveCsv(rows, name) {
  save(new Blob([csvText(rows)], {type: "text/csv"}), `${name}.csv`);
}
