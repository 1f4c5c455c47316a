"use strict";
// Sort the rows of a table by the column of a heading; what has no value stays last, and words
// among figures ("diverged") count as none.
function sort(heading) {
  const table = heading.closest("table"), body = table.tBodies[0];
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.rows[table.tHead.rows.length - 1].cells)
    other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value;
  const isFigure = (text) => text !== "" && !Number.isNaN(Number(text));
  const rows = [...body.rows];
  const figures = rows.some((row) => isFigure(value(row)));
  const counts = (row) => (figures ? isFigure(value(row)) : value(row) !== "");
  const compare = (a, b) => (figures ? a - b : a.localeCompare(b));
  const there = rows.filter(counts);
  there.sort((a, b) => (descending ? -1 : 1) * compare(value(a), value(b)));
  body.append(...there, ...rows.filter((row) => !counts(row)));
}
for (const button of document.querySelectorAll("thead button"))
  button.addEventListener("click", () => sort(button.closest("th")));
for (const button of document.querySelectorAll("[data-run]"))
  button.addEventListener("click", () => document.getElementById(button.dataset.run).showModal());
for (const dialog of document.querySelectorAll("dialog"))
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
