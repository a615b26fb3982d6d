// Where `erde-nas watch` serves the page: it is loaded again when there is news, and the reader stays where they were.
(() => {
  const EVERY_MS = 3000, PLACE = "erde-nas-place", {version} = document.currentScript.dataset;
  const input = id => document.getElementById(id);
  const folds = () => [...document.querySelectorAll("details")];
  const name = fold => fold.querySelector("summary").textContent.replace(/\d+/g, "");

  function keep() {
    const place = {y: scrollY, open: folds().filter(fold => fold.open).map(name)};
    for (const id of ["student-select", "operating-point"]) place[id] = input(id)?.value;
    sessionStorage.setItem(PLACE, JSON.stringify(place));
  }

  function restore() {
    const place = JSON.parse(sessionStorage.getItem(PLACE));
    sessionStorage.removeItem(PLACE);
    if (!place) return;
    for (const [id, event] of [["student-select", "change"], ["operating-point", "input"]]) {
      const found = input(id);
      if (!found || place[id] === undefined) continue;
      const before = found.value;
      found.value = place[id];
      if (found.value === place[id]) found.dispatchEvent(new Event(event)); else found.value = before;
    }
    for (const fold of folds()) fold.open = place.open.includes(name(fold));
    scrollTo({top: place.y, behavior: "instant"});
  }

  async function look() {
    try {
      const answer = await fetch("version" + location.search, {cache: "no-store"});
      if (answer.ok && await answer.text() !== version) {
        keep();
        location.reload();
      }
    } catch { /* nobody serves it now; it may come back */ }
  }

  history.scrollRestoration = "manual";
  restore();
  setInterval(() => { if (!document.hidden) look(); }, EVERY_MS);
})();
