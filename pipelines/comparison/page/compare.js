"use strict";

const one = (query, root = document) => root.querySelector(query);
const all = (query, root = document) => [...root.querySelectorAll(query)];

// Runs: sorted by a column, filtered by words, concept and method. The rows stand in the page.

const table = one("[data-runs]");
const body = table.tBodies[0];
const rows = [...body.rows];
const state = { column: null, down: false };

function fits(row) {
  const words = one("[data-search]").value.trim().toLowerCase();
  const chosen = all("[data-filter]").every((select) => !select.value || row.dataset[select.dataset.filter] === select.value);
  return chosen && row.textContent.toLowerCase().includes(words);
}

// A number where all values of the column are; what is not there comes last, up or down.
function compare(column, numeric) {
  return (a, b) => {
    const [x, y] = [a.cells[column].dataset.value, b.cells[column].dataset.value];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
    return state.down ? -order : order;
  };
}

function show() {
  const sorted = [...rows];
  if (state.column !== null) {
    const values = rows.map((row) => row.cells[state.column].dataset.value).filter((value) => value !== "");
    sorted.sort(compare(state.column, values.every((value) => Number.isFinite(Number(value)))));
  }
  body.append(...sorted);
  const shown = rows.filter(fits);
  rows.forEach((row) => { row.hidden = !shown.includes(row); });
  one("[data-count]").textContent = `${shown.length} of ${rows.length} runs`;
  one("[data-empty]").hidden = shown.length > 0;
}

all("[data-sort]", table).forEach((button) => button.addEventListener("click", () => {
  const head = button.closest("th");
  state.down = state.column === head.cellIndex && !state.down;
  state.column = head.cellIndex;
  all("[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  show();
}));
one("[data-search]").addEventListener("input", show);
all("[data-filter]").forEach((select) => select.addEventListener("change", show));
one("[data-controls]").hidden = false;
show();

// Maps: one kind of concept at a time, all rows or those that changed.

const maps = all("[data-head]");

function showMaps() {
  const head = one("[name=head]:checked")?.value ?? "0";
  maps.forEach((map) => {
    map.hidden = map.dataset.head !== head;
    map.classList.toggle("only-changed", one("[data-changed]").checked);
  });
}

if (maps.length) {
  all("[name=head]").forEach((radio) => radio.addEventListener("change", showMaps));
  one("[data-changed]").addEventListener("change", showMaps);
  one("[data-heat-controls]").hidden = false;
  showMaps();
}

// Pictures: the first prompts, then all.

const FIRST = 8;
const prompts = all("[data-beside] tbody tr");
const more = one("[data-more]");
if (prompts.length > FIRST) {
  prompts.slice(FIRST).forEach((row) => { row.hidden = true; });
  more.hidden = false;
  one("button", more).addEventListener("click", () => {
    prompts.forEach((row) => { row.hidden = false; });
    more.hidden = true;
    prompts[FIRST].tabIndex = -1;
    prompts[FIRST].focus({ preventScroll: true });
  });
}

// Pictures that may be unsafe are blurred until their button is pressed.

all("[data-veil]").forEach((button) => button.addEventListener("click", () => {
  button.parentElement.classList.remove("veiled");
}));
