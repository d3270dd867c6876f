"use strict";

const one = (query, root = document) => root.querySelector(query);
const all = (query, root = document) => [...root.querySelectorAll(query)];

// Pictures: the line between before and after, seeds, blurred ones, a few cards at a time.

const STEP = 12;
const cards = all(".card");
let open = STEP;

function cut(card, share) {
  card.style.setProperty("--cut", `${share}%`);
  for (const range of all("[data-cut]", card)) {
    range.value = share;
    range.setAttribute("aria-valuetext", `${share} % before`);
  }
}

function showPair(card, index) {
  all(".pair", card).forEach((pair, n) => { pair.hidden = n !== index; });
  all("[data-show]", card).forEach((button, n) => button.setAttribute("aria-pressed", n === index));
}

function showCards() {
  const kind = one("[name=gallery]:checked").value;
  const fits = (card) => kind === "all" || card.dataset.kind === kind
    || (kind === "telling" && "telling" in card.dataset);
  let count = 0;
  for (const card of cards) {
    card.hidden = !fits(card) || ++count > open;
  }
  one("[data-more]").hidden = count <= open;
  one("[data-more] button").textContent = `Show ${Math.min(2 * STEP, count - open)} more of ${count}`;
  one("[data-empty]").hidden = count > 0;
}

function veil(pair, on) {
  pair.classList.toggle("veiled", on);
}

for (const card of cards) {
  showPair(card, 0);
  cut(card, 50);
  card.addEventListener("input", (event) => {
    if (event.target.matches("[data-cut]")) cut(card, event.target.value);
  });
  card.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.show !== undefined) showPair(card, Number(button.dataset.show));
    if (button.dataset.veil !== undefined) {
      const pair = button.closest(".pair");
      veil(pair, false);
      one("[data-cut]", pair)?.focus({ preventScroll: true });
    }
  });
}

if (cards.length) {
  const unveil = one("[data-unveil]");
  const concealed = all(".pair.veiled");
  unveil.hidden = concealed.length === 0;
  unveil.addEventListener("click", () => {
    const on = unveil.getAttribute("aria-pressed") === "true";
    concealed.forEach((pair) => veil(pair, on));
    unveil.setAttribute("aria-pressed", !on);
    unveil.textContent = on ? "Show all blurred" : "Blur again";
  });
  one("[data-all]")?.addEventListener("input", (event) => {
    cards.forEach((card) => cut(card, event.target.value));
  });
  all("[name=gallery]").forEach((radio) => radio.addEventListener("change", () => {
    open = STEP;
    showCards();
  }));
  one("[data-more] button").addEventListener("click", () => {
    open += 2 * STEP;
    showCards();
  });
  one("[data-gallery-controls]").hidden = false;
  showCards();
}

function reveal(card) {
  one("[name=gallery][value=all]").checked = true;
  open = Math.max(open, cards.indexOf(card) + 1);
  showCards();
}

// Prompts: sorted, filtered, a page at a time. Text goes in as text, never as markup.

const PAGE = 25;
const data = JSON.parse(one("#rows").textContent);
const table = one("[data-table]");
// A reloaded page may come back with another choice than the first.
const kind = one("[name=rows]:checked")?.value ?? "all";
const state = { column: null, down: false, page: 0, kind, words: "" };

function wanted(row) {
  if (state.words && !row[0].toLowerCase().includes(state.words)) return false;
  if (state.kind === "erased") return row[2];
  if (state.kind === "kept") return !row[2];
  if (state.kind === "changed") {
    return data.heads.some((_, n) => row[4 + 2 * n] !== null && row[4 + 2 * n] !== row[5 + 2 * n]);
  }
  return true;
}

function compare(a, b) {
  const [x, y] = [a[state.column], b[state.column]];
  if (x === null || y === null) return (x === null) - (y === null); // last, up or down
  const order = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
  return state.down ? -order : order;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function line(row) {
  const made = document.createElement("tr");
  const head = element("th", "");
  head.scope = "row";
  const card = document.getElementById(`prompt-${row[1]}`);
  const prompt = element(card ? "a" : "span", row[0]);
  prompt.dir = "auto";
  if (card) {
    prompt.href = `#prompt-${row[1]}`;
    prompt.addEventListener("click", () => reveal(card));
  }
  head.append(prompt);
  if (row[2]) head.append(" ", element("span", "erased", "badge"));
  made.append(head, element("td", row[3]));
  row.slice(4).forEach((count, n) => {
    if (!data.hasBefore && n % 2 === 0) return;
    const cell = element("td", count === null ? "n/a" : count);
    if (count !== null) cell.append(element("span", `/${row[3]}`, "of"));
    made.append(cell);
  });
  return made;
}

function showRows() {
  const rows = data.rows.filter(wanted);
  if (state.column !== null) rows.sort(compare);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const from = state.page * PAGE;
  const shown = rows.slice(from, from + PAGE);
  one("tbody", table).replaceChildren(...shown.map(line));
  one("[data-pager] span").textContent = rows.length
    ? `${(from + 1).toLocaleString("en")} to ${(from + shown.length).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`
    : "no prompt fits";
  one("[data-page='-1']").disabled = state.page === 0;
  one("[data-page='1']").disabled = state.page === pages - 1;
}

if (table) {
  all("[data-sort]", table).forEach((button) => button.addEventListener("click", () => {
    const column = Number(button.dataset.sort);
    state.down = state.column === column && !state.down;
    state.column = column;
    state.page = 0;
    all("[aria-sort]", table).forEach((head) => head.setAttribute("aria-sort", "none"));
    button.parentElement.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    showRows();
  }));
  one("[data-search]").addEventListener("input", (event) => {
    state.words = event.target.value.trim().toLowerCase();
    state.page = 0;
    showRows();
  });
  all("[name=rows]").forEach((radio) => radio.addEventListener("change", () => {
    state.kind = radio.value;
    state.page = 0;
    showRows();
  }));
  all("[data-page]").forEach((button) => button.addEventListener("click", () => {
    state.page += Number(button.dataset.page);
    showRows();
  }));
  one("[data-without-script]").hidden = true;
  table.hidden = false;
  one("[data-table-controls]").hidden = false;
  one("[data-pager]").hidden = false;
  showRows();
}

// A click on a picture's prompt in the address of the page.
const target = cards.find((card) => `#${card.id}` === location.hash);
if (target) {
  reveal(target);
  target.scrollIntoView();
}
