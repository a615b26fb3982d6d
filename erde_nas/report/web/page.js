// What ties the page together: figures, students, tables that sort and copy, rows that unfold.

const DATA = JSON.parse(document.getElementById("data").textContent);

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page from a file may lack the clipboard
    const area = element("textarea", {}, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  button.classList.add("done");
  setTimeout(() => { button.textContent = before; button.classList.remove("done"); }, 1200);
}

/** Numbers as numbers: "17.1×", "1,234", "~0.5 ms"; everything else, and what is unknown, as text. */
function comparable(text) {
  const found = text.replaceAll(",", "").match(/^[~!\s]*([-+−]?\d+(\.\d+)?)/);
  return found ? Number(found[1].replace("−", "-")) : null;
}

function cellText(row, column) {
  const cell = row.cells[column];
  return cell ? (cell.querySelector(".fold > span") || cell).innerText.trim().replace(/\s+/g, " ") : "";
}

function sortTable(table, column) {
  const heads = [...table.tHead.rows[0].cells], head = heads[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const grouped = table.classList.contains("offer"), units = grouped ? [...table.tBodies] : [...table.tBodies[0].rows];
  const text = unit => cellText(grouped ? unit.rows[0] : unit, column);
  const sign = down ? -1 : 1, all = units.map(unit => ({unit, text: text(unit), value: comparable(text(unit))}));
  all.sort((a, b) => (a.value === null) - (b.value === null) || sign * (a.value === null || b.value === null ? a.text.localeCompare(b.text) : a.value - b.value));
  (grouped ? table : table.tBodies[0]).append(...all.map(one => one.unit));
}

function tableRows(table) {
  const rows = [...table.tBodies].flatMap(body => [...body.rows]).filter(row => !row.classList.contains("more"));
  const head = [...table.tHead.rows[0].cells].map(cell => cell.innerText.trim());
  return [head, ...rows.map(row => head.map((_, column) => cellText(row, column)))];
}

function equipTable(table) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => cell.querySelector("button")?.addEventListener("click", () => sortTable(table, column)));
  const name = table.dataset.tools.replace(/[^\w-]+/g, "-").toLowerCase();
  const frame = table.closest(".scroll");
  const tools = element("div", {class: "bar-of-tools"}, element("span", {class: "push"},
    element("button", {type: "button", onclick: event => copy(event.target, tableRows(table).map(row => row.join("\t")).join("\n"))}, "Copy table"),
    element("button", {type: "button", onclick: () => saveCsv(tableRows(table), name)}, "CSV")));
  frame.after(tools);
}

document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy !== undefined) copy(button, button.dataset.copy);
  if (button.dataset.student !== undefined) showStudent(button.dataset.student);
  if (button.classList.contains("fold")) {
    const more = button.closest("tbody").querySelector(".more");
    more.hidden = !more.hidden;
    button.setAttribute("aria-expanded", String(!more.hidden));
  }
});

for (const box of document.querySelectorAll("input[data-hides], input[data-shows]")) {
  box.addEventListener("change", () => {
    for (const body of box.closest("section").querySelectorAll("tbody")) {
      if (box.dataset.shows && body.classList.contains(box.dataset.shows)) body.hidden = !box.checked;
      if (box.dataset.hides && body.textContent.includes(box.dataset.hides)) body.hidden = box.checked;
    }
  });
}

document.querySelectorAll("table[data-tools]").forEach(equipTable);
for (const button of document.querySelectorAll("button[data-student]"))
  button.hidden = !DATA.students.some(student => student.id === button.dataset.student);
const front = document.getElementById("front-figures"), student = document.getElementById("student-view");
if (DATA.chart.points.length) drawFront(front, DATA.chart); else front.append(note("No point yet."));
if (DATA.students.length) view = studentView(student); else student.append(note("No student yet."));
if (DATA.progress) drawProgress(document.getElementById("search-figures"), DATA.progress);
