// The front, on validation and on test, and how the search went on.

const LOOKS = {
  "searched": ["circle", "--searched", 3.5], "not offered": ["x", "--searched", 4], "finished": ["circle", "--finished", 6],
  "pruned": ["square", "--pruned", 5.2], "quantized": ["diamond", "--quantized", 5.2], "cascade": ["cross", "--cascade", 6.5],
  "baseline": ["triangle", "--baseline", 6.2], "teacher": ["star", "--teacher", 7],
};
const NAMES = {"searched": "searched (estimated, validation)", "quantized": "int8"};

/** Limits that hold all values with some air, in the sense of the axis. */
function around(values, log) {
  if (!values.length) return log ? [1, 10] : [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) return high / low > 1.02 ? [low / (high / low) ** 0.06, high * (high / low) ** 0.06] : [low / 1.3, high * 1.3];
  const air = 0.06 * (high - low) || 0.1 * Math.abs(high) || 0.5;
  return [low - air, high + air];
}

function drawFront(host, chart) {
  const shown = {cost: chart.costs.some(cost => cost.key === DATA.profile) ? DATA.profile : chart.costs[0]?.key, searched: true, arrows: chart.arrows.length <= 16};
  const used = key => chart.points.some(point => point.look === key);
  const choice = element("span", {class: "choice", role: "group", "aria-label": "Cost"}, ...chart.costs.map(cost =>
    element("button", {type: "button", "data-cost": cost.key, onclick: () => { shown.cost = cost.key; draw(); }}, cost.title)));
  const box = (key, text) => element("label", {}, element("input", {type: "checkbox", checked: shown[key], onchange: event => { shown[key] = event.target.checked; draw(); }}), text);
  const legend = element("ul", {class: "legend"}, ...Object.entries(LOOKS).filter(([key]) => used(key)).map(([key, [look, colour, size]]) => {
    const svg = shape("svg", {viewBox: "-9 -8 18 16", "aria-hidden": "true"});
    const open = look === "x";
    svg.append(shape("path", {d: MARKS[look](size), style: `fill:${open ? "none" : `var(${colour})`};stroke:${open ? `var(${colour})` : "none"};stroke-width:1.8`}));
    return element("li", {}, svg, NAMES[key] || key);
  }));
  const panels = element("div", {class: "panels"});
  host.append(element("div", {class: "bar-of-tools"}, chart.costs.length > 1 ? choice : "",
    used("searched") ? box("searched", "searched students") : "", chart.arrows.length ? box("arrows", "finished → pruned → int8") : ""), legend, panels);
  const draw = () => {
    for (const button of choice.children) button.setAttribute("aria-pressed", button.dataset.cost === shown.cost);
    const tested = chart.points.some(point => point.test !== undefined);
    panels.replaceChildren();
    for (const kind of tested ? ["val", "test"] : ["val"]) drawPanel(panels, chart, shown, kind);
  };
  draw();
}

function drawPanel(panels, chart, shown, kind) {
  const cost = chart.costs.find(one => one.key === shown.cost), key = cost.key, test = kind === "test";
  const points = chart.points.filter(point => point.x?.[key] !== undefined && point[kind] !== undefined && (shown.searched || point.look !== "searched"));
  const heading = test ? "On test" : "On validation";
  const csv = () => [["name", "stage", "validation accuracy %", "test accuracy %", "95% low", "95% high", cost.axis, "front"],
    ...chart.points.filter(point => point.x?.[key] !== undefined).map(point => [point.name, point.stage, point.val, point.test, ...(point.ci || ["", ""]), point.x[key],
      chart.fronts[key].includes(chart.points.indexOf(point))])];
  const {host, frame} = figure(heading, test ? "read once" : "what students are chosen by", `front-${key}-${kind}`, csv);
  panels.append(frame);
  const line = chart.fronts[key].map(i => chart.points[i]).filter(point => point[kind] !== undefined);
  const teacher = chart.teacher === null ? null : chart.points[chart.teacher];
  const domain = around(points.map(point => point.x[key]).filter(value => value > 0), true);
  plot(host, {
    label: `${heading}: accuracy against ${cost.axis}, ${points.length} points, ${line.length} of them on the front`,
    x: {label: cost.axis, domain, log: true, text: key === "macs" ? macs : plain},
    y: {domain: chart.range},
    lines: [
      ...(teacher && teacher[kind] !== undefined ? [{points: domain.map(end => [end, teacher[kind]]), colour: "var(--teacher)", dash: "2 4", width: 1.2}] : []),
      {points: line.map(point => [point.x[key], point[kind]]), colour: "var(--front)", width: 2, dash: test ? "6 4" : undefined, opacity: 0.75},
    ],
    arrows: shown.arrows ? chart.arrows.map(ends => ends.map(i => chart.points[i])).filter(ends => ends.every(point => point.x?.[key] !== undefined && point[kind] !== undefined))
      .map(([a, b]) => [a.x[key], a[kind], b.x[key], b[kind]]) : [],
    marks: points.map(point => mark(point, key, kind)),
  });
}

function mark(point, key, kind) {
  const [look, colour, size] = LOOKS[point.look], test = kind === "test";
  const accuracy = [`validation ${point.val.toFixed(2)}%`];
  if (point.test !== undefined) accuracy.push(`test ${point.test.toFixed(2)}%${point.ci ? ` (95% CI ${point.ci.map(end => end.toFixed(1)).join("–")})` : ""}`);
  return {
    x: point.x[key], y: point[kind], look, size, colour: `var(${colour})`, faint: ["searched", "not offered"].includes(point.look),
    bars: test && point.look !== "not offered" ? point.ci : undefined, side: point.look === "not offered" ? undefined : point.noise?.[key], ring: point.doubt?.includes(key),
    title: point.name + (point.stage ? ` (${point.stage})` : ""), lines: [accuracy.join(", "), ...(point.cost[key] || []), ...(point.lines || [])],
    press: DATA.students.some(student => student.id === point.student) ? () => showStudent(point.student) : undefined,
  };
}

/** The hypervolume after each candidate; failures are crosses on the axis. */
function drawProgress(host, progress) {
  const {values, failed} = progress, heading = "Hypervolume of what was found so far";
  const made = figure(heading, `validation error and ${progress.cost}, as a share of the ${progress.of}`, "search-progress",
    () => [["candidate", "hypervolume", "failed"], ...values.map((value, i) => [i + 1, value, failed.includes(i)])]);
  host.append(made.frame);
  const domain = around(values, false), gains = values.map((value, i) => value - (values[i - 1] || 0));
  plot(made.host, {
    label: `${heading}: ${values.at(-1)} after ${values.length} candidates`, height: 260,
    x: {label: "candidates", domain: [0.5, values.length + 0.5], text: value => Number.isInteger(value) ? String(value) : ""},
    y: {domain: [Math.max(0, domain[0]), Math.min(1.02, domain[1])]},
    lines: [{points: values.map((value, i) => [i + 1, value]), colour: "var(--front)", steps: true}],
    marks: values.map((value, i) => ({i, value})).filter(({i}) => gains[i] > 1e-6 || failed.includes(i)).map(({i, value}) => failed.includes(i)
      ? {x: i + 1, y: value, look: "x", size: 4, colour: "var(--bad)", title: `candidate ${i + 1}`, lines: ["failed"]}
      : {x: i + 1, y: value, look: "circle", size: 4, colour: "var(--finished)", title: `candidate ${i + 1}`, lines: [`hypervolume ${value.toFixed(4)}`, i ? `${gains[i].toFixed(4)} more` : "the first"]}),
  });
}
