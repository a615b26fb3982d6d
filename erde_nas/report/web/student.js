// One student: its drawing, a slider over its operating points, and what became of the test images.

const FLOW = ["--quantized", "--finished", "--pruned", "--baseline"];
const flowColour = (i, count) => `var(${i === count - 1 ? "--searched" : FLOW[Math.min(i, FLOW.length - 1)]})`;
const percent = (share, places = 1) => `${(100 * share).toFixed(places)}%`;
const sum = values => values.reduce((a, b) => a + b, 0);
let view = null;

function studentView(host) {
  const select = element("select", {id: "student-select", onchange: () => draw(select.value)},
    ...DATA.students.map(student => element("option", {value: student.id}, `${student.name} (${student.stages.map(stage => NAMES[stage] || stage).join(", ")})`)));
  const body = element("div");
  host.append(element("div", {class: "bar-of-tools"}, element("label", {for: "student-select"}, "Student"), select), body);
  const draw = id => { select.value = id; drawStudent(body, DATA.students.find(student => student.id === id)); };
  draw(DATA.students[0].id);
  return draw;
}

function showStudent(id) {
  view(id);
  document.getElementById("student").scrollIntoView();
  document.getElementById("student-select").focus({preventScroll: true});
}

function drawStudent(body, student) {
  body.replaceChildren();
  const names = Object.keys(student.profiles), state = {profile: names.includes(DATA.profile) ? DATA.profile : names[0], at: 0};
  const parts = {drawing: element("div", {class: "drawing"}), exits: element("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Exits"}), more: element("div")};
  const drawn = element("figure", {class: "wide"}, element("figcaption", {}, "Blocks, exits, and where images leave", element("small", {}, description(student))), parts.drawing);
  const grid = element("div", {class: "student"}, drawn);
  body.append(grid);
  const update = () => { const place = placeOf(student, state); drawNetwork(parts.drawing, student, place.shares); drawExits(parts.exits, student, state, place); drawMore(parts.more, student, place); };
  if (names.length) grid.append(...slider(student, state, update));
  grid.append(element("div", {class: "wide"}, parts.exits, parts.more));
  update();
}

const description = student => student.parts.map(part => [part.family, part.size ? `${part.size}×${part.size} pixels` : "", `${part.blocks.length} block${part.blocks.length === 1 ? "" : "s"}`].filter(Boolean).join(", ")).join(" + ");

/** The operating point that is looked at; without a measurement the one there is. */
function placeOf(student, state) {
  return student.profiles[state.profile]?.places[state.at] || {shares: student.points[0].shares, at: student.points[0].at, val: student.points[0].val, point: 0};
}

/** The slider with what it says, and the curve along which it moves. */
function slider(student, state, changed) {
  const curve = figure("Accuracy against mean latency", "validation; filled marks are measured", `curve-${student.name}`, () => curveRows(student, state));
  const input = element("input", {type: "range", min: 0, step: 1, id: "operating-point", "aria-label": "Operating point, from fast to accurate"});
  const readout = element("div"), names = Object.keys(student.profiles);
  const choice = element("span", {class: "choice", role: "group", "aria-label": "Profile"}, ...names.map(name =>
    element("button", {type: "button", "data-profile": name, onclick: () => { state.profile = name; start(); }}, name)));
  const card = element("div", {class: "slider"}, names.length > 1 ? choice : "", element("div", {class: "ends"}, element("span", {}, "faster"), element("label", {for: "operating-point"}, "Thresholds"), element("span", {}, "more accurate")), input, readout);
  let chart = null;
  const show = () => {
    state.at = Number(input.value);
    const place = placeOf(student, state);
    input.setAttribute("aria-valuetext", `${place.val.toFixed(1)}% on validation in ${time(place.ms)}`);
    tellPlace(readout, student, state, place);
    const spec = curveSpec(student, state, () => input, show);
    if (chart) chart.redraw(spec); else chart = plot(curve.host, spec);
    changed();
  };
  const start = () => {
    for (const button of choice.children) button.setAttribute("aria-pressed", button.dataset.profile === state.profile);
    const places = student.profiles[state.profile].places, measured = places.findLastIndex(place => place.point !== undefined);
    input.max = places.length - 1;
    input.disabled = places.length < 2;
    input.value = Math.max(0, measured);
    show();
  };
  input.addEventListener("input", show);
  queueMicrotask(start);
  return [curve.frame, card];
}

function curveRows(student, state) {
  const {places} = student.profiles[state.profile];
  return [["budget ms", "mean ms", "source", "validation accuracy %", "test accuracy %", "thresholds", "leave at each exit", "file"], ...places.map(place => [place.budget, place.ms,
    place.point === undefined ? "estimated" : "measured", place.val, student.points[place.point]?.test, place.at.join(" "), place.shares.join(" "), student.files[place.file]])];
}

function curveSpec(student, state, input, show) {
  const profile = student.profiles[state.profile], places = profile.places, now = places[state.at];
  const means = places.map(place => place.ms), values = places.map(place => place.val);
  const reference = DATA.teacherVal !== null ? [DATA.teacherVal] : [];
  const span = Math.max(...values) - Math.min(...values), near = reference.filter(value => Math.abs(value - Math.max(...values)) < 3 * span + 2);
  const domain = around(means, false);
  return {
    label: `Validation accuracy against mean latency of ${student.name}: ${places.length} operating points`, height: 300,
    x: {label: "mean per image", domain: [Math.max(0, domain[0]), domain[1]], text: ms => time(ms)},
    y: {domain: values.length + near.length > 1 ? around([...values, ...near], false) : [values[0] - 1, values[0] + 1]},
    lines: [{points: places.map(place => [place.ms, place.val]), colour: "var(--front)", width: 1.8, steps: true, opacity: 0.7},
      ...near.map(value => ({points: [Math.max(0, domain[0]), domain[1]].map(end => [end, value]), colour: "var(--teacher)", dash: "2 4", width: 1.2}))],
    texts: near.map(value => ({x: Math.max(0, domain[0]), y: value, dy: -5, text: "teacher"})),
    marks: [...places.map((place, i) => ({
      x: place.ms, y: place.val, look: "circle", size: 4.5, hollow: place.point === undefined, colour: "var(--front)",
      title: `${place.val.toFixed(2)}% in ${time(place.ms)}`, lines: [place.point === undefined ? "estimated from the costs of the exits" : "measured", `leave at each exit ${place.shares.map(share => percent(share, 0)).join(" / ")}`],
      press: () => { input().value = i; show(); },
    })), {x: now.ms, y: now.val, look: "circle", size: 8, hollow: now.point === undefined, colour: "var(--teacher)", title: "here", lines: [`${now.val.toFixed(2)}% in ${time(now.ms)}`]}],
  };
}

function tellPlace(host, student, state, place) {
  const profile = student.profiles[state.profile], point = student.points[place.point], early = 1 - place.shares.at(-1);
  const pair = (name, value, under) => element("div", {}, element("dt", {}, name), element("dd", {}, value, under ? element("small", {}, under) : ""));
  const faster = profile.teacher ? profile.teacher / place.ms : null;
  const run = `python shipped/run.py photos --budget-ms ${place.budget}${profile.option}`;
  host.replaceChildren(
    element("dl", {class: "readout"},
      pair("Mean latency", place.mean || time(place.ms), point ? "measured" : "estimated"),
      pair("Validation", `${place.val.toFixed(1)}%`, DATA.teacherVal === null ? "" : `${signed(place.val - DATA.teacherVal)} against the teacher`),
      pair("Test", point && point.test !== null ? `${point.test.toFixed(1)}%` : "–", point && point.ci ? `95% CI ${point.ci.map(end => end.toFixed(1)).join("–")}` : "read at measured points alone"),
      faster ? pair("Speed-up", place.faster || `~${digits(faster, 2)}×`, `teacher ${time(profile.teacher)}`) : "",
      pair("Leaves early", place.shares.length > 1 ? percent(early, 0) : "–", place.at.length ? `thresholds ${place.at.join(", ")} ${DATA.rule.unit}` : "one exit")),
    profile.keeps ? element("div", {class: "quiet"}, "To ship these thresholds, export the student and give the budget:") : "",
    ...(profile.keeps ? [student.export, run] : [student.export]).map(copied));
}

const signed = value => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)} points`;
const copied = text => element("div", {class: "ship"}, element("span", {class: "command", tabindex: 0}, text), element("button", {type: "button", "data-copy": text}, "Copy"));

/** Boxes as high as blocks are wide, darker where the resolution is lower; below, the images that still run, and where
 *  they leave. */
function drawNetwork(host, student, shares) {
  const boxes = layout(student.parts), gap = 6, width = 940, left = 84;
  const unit = Math.min(118, (width - left - 20) / boxes.length), widest = Math.max(1, ...boxes.map(box => box.width || 0));
  const axis = 70, flow = 158, thick = 54, bottom = 282, low = unit < 60 && shares.length > 1 ? 34 : 0;
  const svg = shape("svg", {viewBox: `0 0 ${width} ${296 + low}`, role: "img", "aria-label": `${description(student)}; ${shares.map((share, i) => `${percent(share)} leave at exit ${i}`).join(", ")}`});
  let exit = 0, still = 1;
  svg.append(shape("text", {x: 0, y: axis + 4}, "image"), shape("text", {x: 0, y: flow + 31}, "images"));
  boxes.forEach((box, i) => {
    const x = left + i * unit, height = box.width ? 22 + 96 * Math.sqrt(box.width / widest) : 60, wide = Math.max(4, unit - gap);
    const group = shape("g", {style: `opacity:${0.3 + 0.7 * Math.sqrt(still)}`});
    group.append(shape("title", {}, box.title), shape("rect", {x, y: axis - height / 2, width: wide, height, rx: 4, style: `fill:color-mix(in srgb, var(--finished) ${24 + 17 * box.depth}%, var(--panel));stroke:var(--finished);stroke-width:1`}));
    svg.append(group);
    if (wide > 20 && box.width) svg.append(shape("text", {x: x + wide / 2, y: axis + 4, "text-anchor": "middle"}, String(box.width)));
    if (box.note && (wide > 20 || box.first)) svg.append(shape("text", {x, y: 143, class: "faint"}, box.note));
    const here = thick * still, end = x + unit;
    svg.append(shape("rect", {x: i ? x : left - 22, y: flow, width: end - (i ? x : left - 22), height: Math.max(0.5, here), style: "fill:var(--finished);opacity:.22"}));
    if (!box.exit) return;
    const share = shares[exit] ?? 0, colour = flowColour(exit, shares.length), mid = x + wide / 2, branch = Math.max(1.5, thick * share), down = exit % 2 ? low : 0;
    svg.append(
      shape("path", {d: `M${mid},${axis + height / 2}V${flow}`, style: `stroke:${colour};stroke-width:1.5`, "stroke-dasharray": "3 3"}),
      shape("path", {d: `M${mid - branch / 2},${flow + Math.max(0, here - branch)}h${branch}V${bottom - 34 + down}l${-branch / 2},7l${-branch / 2},-7z`, style: `fill:${colour};opacity:.85`}),
      shape("text", {x: mid, y: bottom - 10 + down, "text-anchor": "middle", style: "font-weight:600"}, percent(share)),
      shape("text", {x: mid, y: bottom + 6 + down, "text-anchor": "middle", class: "faint"}, box.head ? `exit ${exit}, ${box.head}` : `exit ${exit}`));
    still = Math.max(0, still - share);
    exit++;
  });
  host.replaceChildren(svg);
}

/** Stem and blocks of all networks in a row. */
function layout(parts) {
  const boxes = [];
  for (const part of parts) {
    let size = part.size, depth = 0;
    const shrink = stride => { if (stride > 1) { depth++; size = size && Math.ceil(size / stride); } return size ? `${size}×${size}` : ""; };
    if (part.stem) boxes.push({width: part.stem, depth, title: `stem, width ${part.stem}`, note: shrink(part.stemStride), first: true});
    part.blocks.forEach((block, i) => {
      const note = shrink(block.stride), exit = part.exits.find(one => one.block === i);
      boxes.push({width: block.width, depth, title: `block ${i}: ${block.text}`, note: block.stride > 1 ? note : "", exit: Boolean(exit), head: exit?.head, first: block.stride > 1});
    });
  }
  return boxes;
}

/** The measured point whose answers are shown: the one looked at, else that of its file which is most like it. */
function measuredAt(student, place) {
  if (place.point !== undefined) return student.points[place.point];
  const file = student.files[place.file];
  const own = student.points.filter(point => point.file === file);
  const away = point => sum(point.shares.map((share, i) => Math.abs(share - place.shares[i])));
  return (own.length ? own : student.points).reduce((best, point) => away(point) < away(best) ? point : best);
}

function drawExits(host, student, state, place) {
  const point = measuredAt(student, place), costs = point.perExit[state.profile] || [], answers = point.answers;
  const blocks = student.parts.flatMap(part => part.exits.map(exit => student.parts.length > 1 ? `${part.family} ${exit.block}` : String(exit.block)));
  const columns = ["exit", "on block", "leave here", "leaving takes", "MACs", "right, of those that leave", "right, if all left here"];
  const rows = place.shares.map((share, i) => [
    String(i), blocks[i] ?? "–", percent(share), costs[i] ? time(costs[i]) : "–", point.macs ? macs(point.macs[i]) : "–",
    answers?.left[i] ? `${percent(answers.right[i] / answers.left[i])} of ${answers.left[i]}` : "–", point.alone ? `${point.alone[i].toFixed(1)}%` : "–"]);
  const cell = (text, i) => element("td", {class: i ? "right" : undefined}, text);
  const table = element("table", {}, element("caption", {class: "visually-hidden"}, "Exits"), element("thead", {}, element("tr", {}, ...columns.map((text, i) => element("th", {scope: "col", class: i ? "right" : undefined}, text)))),
    element("tbody", {}, ...rows.map(row => element("tr", {}, ...row.map((text, i) => {
      const found = cell(text, i);
      if (i === 2) found.append(shareBar(place.shares, rows.indexOf(row)));
      return found;
    })))));
  host.replaceChildren(table);
}

/** Where in the stream of images this exit's share lies. */
function shareBar(shares, at) {
  const bar = element("span", {class: "share", "aria-hidden": "true"});
  shares.forEach((share, i) => bar.append(element("i", {style: `width:${100 * share}%;${i === at ? "" : "background:transparent;"}border:0`})));
  return bar;
}

function fold(heading, ...children) {
  return element("details", {}, element("summary", {}, heading), ...children);
}

/** What became of the test images, calibration, and how the student came to be. */
function drawMore(host, student, place) {
  const point = measuredAt(student, place), answers = point.answers, opened = new Set([...host.querySelectorAll("details[open]")].map(one => one.dataset.key));
  const at = `On test, ${point.at.length ? `at the measured thresholds ${point.at.join(", ")} of ` : ""}${point.file || "the search"}.`;
  const parts = [];
  if (answers) {
    if (answers.classRight.length && DATA.perClass.length) parts.push(["classes", "Accuracy per class", classTable(answers), note(at)]);
    if (answers.confusion.length) parts.push(["confusion", "What is taken for what", confusion(answers.confusion), note(`${at} Rows are the true classes, columns the answers.`)]);
    const seen = answers.examples.map(own => own.filter(([image]) => DATA.pictures[image]));
    if (seen.some(own => own.length)) parts.push(["images", "Images that leave, and those it gets wrong", ...examples(seen), note(`${at} The first of each kind, in the order of the test images.`)]);
    if (answers.calibration.some(bins => bins.length)) parts.push(["calibration", "Calibration of each exit", calibration(student, answers.calibration), note(`${at} A mark on the dotted line: the exit is as often right as its confidence says.`)]);
  }
  if (student.training) parts.push(["training", "How it came to be", training(student.training)]);
  host.replaceChildren(...parts.map(([key, heading, ...children]) => {
    const found = fold(heading, ...children);
    found.dataset.key = key;
    found.open = opened.has(key);
    return found;
  }));
}

const note = text => element("p", {class: "note"}, text);

function classTable(answers) {
  const rows = DATA.classes.map((name, i) => [name, answers.classRight[i], DATA.perClass[i]]).sort((a, b) => a[1] / a[2] - b[1] / b[2]);
  return element("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Accuracy per class"}, element("table", {"data-tools": "classes"},
    element("thead", {}, element("tr", {}, ...["class", "right %", "right", "images"].map((text, i) => element("th", {scope: "col", class: i ? "right" : undefined}, text)))),
    element("tbody", {}, ...rows.map(([name, right, all]) => element("tr", {}, element("td", {}, name), ...[all ? (100 * right / all).toFixed(1) : "–", right, all].map(value => element("td", {class: "right"}, String(value))))))));
}

function confusion(counts) {
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => j !== i)));
  const cell = (value, i, j) => element("td", {style: value ? `background:color-mix(in srgb, var(${i === j ? "--quantized" : "--bad"}) ${i === j ? 22 : 8 + 40 * value / most}%, transparent)` : undefined}, value ? String(value) : "·");
  return element("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion"}, element("table", {class: "confusion"},
    element("thead", {}, element("tr", {}, element("td", {}, ""), ...DATA.classes.map(name => element("th", {scope: "col"}, name)))),
    element("tbody", {}, ...counts.map((row, i) => element("tr", {}, element("th", {scope: "row"}, DATA.classes[i]), ...row.map((value, j) => cell(value, i, j)))))));
}

/** Small copies of test images: what leaves at each exit, the wrong answers behind the right ones. */
function examples(seen) {
  const name = i => DATA.classes[i] ?? String(i);
  return seen.flatMap((own, i) => own.length ? [element("h3", {}, `Exit ${i}`), element("ul", {class: "images"}, ...own.map(([image, truth, answer]) => {
    const wrong = truth !== answer;
    return element("li", {class: wrong ? "wrong" : undefined}, element("img", {src: DATA.pictures[image], alt: `test image ${image}`}), name(truth), wrong ? element("b", {}, ` taken for ${name(answer)}`) : "");
  }))] : []);
}

function calibration(student, bins) {
  const made = figure("Share that is right against confidence", bins.map((_, i) => `exit ${i}`).join(", "), `calibration-${student.name}`,
    () => [["exit", "images", "mean confidence", "right"], ...bins.flatMap((own, i) => own.map(bin => [i, ...bin]))]);
  const most = Math.max(...bins.flat().map(bin => bin[0]));
  plot(made.host, {
    label: "Calibration: share of right answers against confidence, for each exit", height: 300, x: {label: "confidence", domain: [0, 1.02]}, y: {domain: [0, 1.03]},
    lines: [{points: [[0, 0], [1, 1]], colour: "var(--faint)", dash: "2 4", width: 1.2},
      ...bins.map((own, i) => ({points: own.map(([count, confidence, right]) => [confidence, right / count]), colour: flowColour(i, bins.length), width: 1.5, opacity: 0.6}))],
    marks: bins.flatMap((own, i) => own.map(([count, confidence, right]) => ({x: confidence, y: right / count, look: "circle", size: 3 + 6 * Math.sqrt(count / most), colour: flowColour(i, bins.length),
      title: `exit ${i}`, lines: [`${right} of ${count} right (${percent(right / count)})`, `mean confidence ${percent(confidence)}`]}))),
  });
  return made.frame;
}

function training(found) {
  const steps = [found.parent ? `made of ${found.parent}` : "", found.searched === null ? "" : `${percent(found.searched)} on validation after the brief training of the search`,
    ...found.rungs.map(([epochs, accuracy]) => `${percent(accuracy)} after ${epochs} epochs of finishing`)].filter(Boolean);
  return element("ol", {}, ...steps.map(step => element("li", {}, step)));
}
