"use strict";
// Filters and sorts the images of a fleet's overview. The rows stand in the page; nothing is loaded and no HTML is made.
(function () {
  const byId = (name) => document.getElementById(name);
  const table = byId("images");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const names = rows.map((row) => row.dataset.name.toLowerCase());
  const verdicts = Array.from(document.querySelectorAll("input[name=verdict]"));
  const collator = new Intl.Collator("en", { numeric: true });

  function filter() {
    const wanted = byId("text").value.toLowerCase();
    const allowed = new Set(verdicts.filter((box) => box.checked).map((box) => box.value));
    const changed = byId("changed").checked;
    let count = 0;
    rows.forEach((row, number) => {
      const on = names[number].includes(wanted) && allowed.has(row.dataset.verdict) && (!changed || row.dataset.changed === "1");
      row.hidden = !on;
      count += on;
    });
    byId("shown").textContent = count === rows.length ? "" : count + " of " + rows.length + " images are shown.";
  }

  function sort(head) {
    const column = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, row.cells[column].dataset.key]));
    rows.slice().sort((a, b) => collator.compare(keys.get(a), keys.get(b)) * (down ? -1 : 1)).forEach((row) => body.append(row));
  }

  byId("controls").hidden = false;
  byId("controls").addEventListener("input", filter);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) sort(button.parentElement);
  });
  filter();
})();
