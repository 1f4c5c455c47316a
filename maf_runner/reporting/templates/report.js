"use strict";
// Sort the rows of a table by the column of a heading; what has no value stays last.
function sort(heading) {
  const table = heading.closest("table"), body = table.tBodies[0];
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.rows[table.tHead.rows.length - 1].cells)
    other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  const rows = [...body.rows];
  const there = rows.filter((row) => value(row) !== "");
  there.sort((a, b) => (descending ? -1 : 1) * compare(value(a), value(b)));
  body.append(...there, ...rows.filter((row) => value(row) === ""));
}
for (const button of document.querySelectorAll("thead button"))
  button.addEventListener("click", () => sort(button.closest("th")));
for (const button of document.querySelectorAll("[data-run]"))
  button.addEventListener("click", () => document.getElementById(button.dataset.run).showModal());
for (const dialog of document.querySelectorAll("dialog"))
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
