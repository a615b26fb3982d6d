"""The page's style sheet and the script that gives the figures the page's colours. Both stand in the page itself."""

CSS = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --panel: #f6f7f9; --ink: #1d2329; --faint: #5b6670; --line: #d9dee3;
  --bar: #0072b2; --mark: #b34700;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181c; --panel: #1d2329; --ink: #e6eaee; --faint: #9aa6b1; --line: #38424c;
    --bar: #56b4e9; --mark: #ff9d5c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem) 4rem; max-width: 92rem;
  background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 0.5rem; overflow-wrap: anywhere; }
p, ul { max-width: 75ch; }
.summary {
  font-size: 1.12rem; max-width: none; margin: 0 0 1.25rem; padding: 0.9rem 1.1rem;
  background: var(--panel); border-left: 4px solid var(--bar); overflow-wrap: anywhere;
}
.warning { border-left-color: var(--mark); }
.note { color: var(--faint); font-size: 0.9rem; margin: 0.4rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem; margin: 0; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 1rem; }
.several { grid-template-columns: repeat(auto-fill, minmax(min(100%, 34rem), 1fr)); } /* before the second is read */
.legend { display: flex; flex-wrap: wrap; gap: 0.1rem 1.4rem; list-style: none; padding: 0; max-width: none; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: 0.25rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.65rem; text-align: left; vertical-align: top; }
td { white-space: nowrap; border-top: 1px solid var(--line); }
td.text { white-space: normal; min-width: 32rem; }
th { background: var(--panel); vertical-align: bottom; font-weight: 600; }
.right { text-align: right; }
tbody tr:hover { background: var(--panel); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 0.7rem; min-width: 0; overflow-x: auto; }
.card h3 { margin: 0 0 0.35rem; }
.card th, .card td { padding: 0.25rem 0.4rem; }
.card th { background: none; font-weight: 400; color: var(--faint); }
.bar { display: block; height: 4px; margin-top: 2px; background: var(--line); border-radius: 2px; }
.bar i { display: block; height: 100%; background: var(--bar); border-radius: 2px; }
summary { cursor: pointer; margin: 0.5rem 0; }
"""

SCRIPT = """
const scheme = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line, panel] = ["--ink", "--line", "--panel"].map(name => style.getPropertyValue(name).trim());
  for (const plot of document.querySelectorAll(".plotly-graph-div")) {
    Plotly.relayout(plot, {
      "font.color": ink, "xaxis.gridcolor": line, "yaxis.gridcolor": line, "xaxis.linecolor": line,
      "yaxis.linecolor": line, "hoverlabel.bgcolor": panel, "hoverlabel.font.color": ink,
    });
  }
}
scheme.addEventListener("change", paint);
paint();
for (const box of document.querySelectorAll("input[data-hides]")) {
  box.addEventListener("change", () => {
    for (const row of box.closest("section").querySelectorAll("tbody tr")) {
      row.hidden = box.checked && row.textContent.includes(box.dataset.hides);
    }
  });
}
// A figure is drawn before the page's grid has its final columns, and a phone may be turned.
const follow = new ResizeObserver(entries => entries.forEach(entry => Plotly.Plots.resize(entry.target)));
document.querySelectorAll(".plotly-graph-div").forEach(plot => follow.observe(plot));
"""
