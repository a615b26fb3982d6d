// Light or dark, before anything is painted: what the reader chose here, else what the system says.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => { try { return localStorage.getItem("erde-nas-theme"); } catch { return null; } };
  const apply = () => { document.documentElement.dataset.theme = kept() || (system.matches ? "dark" : "light"); };
  system.addEventListener("change", apply);
  apply();
  addEventListener("DOMContentLoaded", () => document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("erde-nas-theme", theme); } catch { /* a page from a file may keep nothing */ }
    document.documentElement.dataset.theme = theme;
  }));
})();
