"use strict";

// Tables that are there already: a click on a head sorts their rows.

const value = (row, column) => {
  const cell = row.children[column];
  if (!cell || cell.dataset.value === undefined) return cell && column === 0 ? cell.dataset.name : null;
  return Number(cell.dataset.value);
};

function sort(table, column, down) {
  const body = table.tBodies[0];
  const order = (a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    if (x === null || y === null) return (x === null) - (y === null); // last, up or down
    const found = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
    return down ? -found : found;
  };
  body.append(...[...body.rows].sort(order));
}

for (const table of document.querySelectorAll("[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(table, column, down);
    });
  });
}
