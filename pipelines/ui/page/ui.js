// The page over the command line. All text comes in as text nodes, never as markup.

const $ = (id) => document.getElementById(id);
const state = { setup: null, run: null, jobs: [], shown: "", listed: "", picked: new Set(), unfolded: new Set(), curve: new Map(), items: new Map() };

const present = (child) => child !== null && child !== undefined && child !== false && child !== "";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(present).map((c) => (c instanceof Node ? c : String(c))));
  return element;
}

function say(text, bad = false) {
  $("said").textContent = text;
  $("said").className = bad ? "bad" : "";
}

async function ask(path, values) {
  const options = values === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server of this page does not answer; start erasure ui again (jobs run on)");
  }
  if (answer.status === 404) throw new Error("this page is of an erasure ui that has ended; open the address that the one of now has printed");
  const content = await answer.json().catch(() => ({ error: "the answer could not be read; reload the page" }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

const guarded = (work) => async (event) => {
  event?.preventDefault();
  const pressed = event?.submitter ?? event?.currentTarget;
  const button = pressed instanceof HTMLButtonElement ? pressed : null;
  if (button?.getAttribute("aria-disabled") === "true") return; // pressed twice
  button?.setAttribute("aria-disabled", "true"); // a disabled one would lose the focus
  try {
    await work(event);
  } catch (error) {
    say(error.message, true);
  } finally {
    button?.removeAttribute("aria-disabled");
  }
};

const minutes = (value) => (value < 1 ? "under a minute" : `about ${Math.round(value)} min`);
const bytes = (value) => `${(value / 1e9).toFixed(value < 1e10 ? 2 : 1)} GB`;
const percent = (share) => (share === null || share === undefined ? "" : `${(100 * share).toFixed(1)} %`);
const counted = (value) => (value === null || value === undefined ? "?" : value.toLocaleString("en"));
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

// The form

function form() {
  const more = {};
  for (const input of $("settings").querySelectorAll("input")) if (input.value) more[input.name] = input.value;
  return {
    model: $("hub").value.trim() || $("model").value,
    concepts: $("concepts").value.split(",").map((c) => c.trim()).filter(Boolean),
    intent: document.querySelector("input[name=intent]:checked").value,
    method: $("method").value, instead: $("instead").value,
    density: $("density").value.trim(), watch: $("watch").value.trim(), steps: $("steps").value.trim(), name: $("name").value.trim(), more,
  };
}

function fillForm() {
  $("model").replaceChildren(...state.setup.models.map((model) => make("option", { value: model }, model)));
  $("method").replaceChildren(...state.setup.methods.map((m) => make("option", { value: m.name }, m.name)));
  $("intents").replaceChildren(...Object.entries(state.setup.intents).map(([name, title], n) =>
    make("label", {}, make("input", { type: "radio", name: "intent", value: name, checked: n === 0 }), title)));
  fillMethod();
}

const methodOf = (name) => state.setup.methods.find((method) => method.name === name);
const hasSteps = (name) => "steps" in (methodOf(name)?.settings ?? { steps: null }); // a solve has none

function fillMethod() {
  const method = methodOf($("method").value);
  $("method-more").textContent = method.title;
  for (const id of ["steps", "watch"]) { // there is nothing to look at where there are none
    $(id).closest("label").hidden = !hasSteps(method.name);
    if (!hasSteps(method.name)) $(id).value = "";
  }
  const fields = Object.entries(method.settings).filter(([name]) => name !== "steps");
  $("settings").replaceChildren(...fields.map(([name, setting]) =>
    make("label", { title: setting.about ?? "" }, `${name} (${setting.type})`, make("input", { name, placeholder: setting.default }))));
}

// What the choice of a kind comes to, as a kind without a recipe changes nothing.
function showRecipe() {
  const { model, method, intent } = form();
  const name = methodOf(method).recipes[intent];
  $("intent-more").textContent = state.setup.embedded.includes(model) ? "The embedded model has settings of its own, whatever it is."
    : name ? `By the ready recipe ${name}.` : `${method} has no ready recipe for it: by its defaults.`;
}

let nameWasTyped = false;
function suggestName() {
  if (nameWasTyped) return;
  const words = $("concepts").value.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "run";
  const taken = new Set(state.runs.map((run) => run.name).concat(state.jobs.map((job) => job.run)));
  let name = words;
  for (let n = 2; taken.has(name); n += 1) name = `${words}-${n}`;
  $("name").value = name;
}

let asked = 0;
async function showLine() {
  const turn = (asked += 1);
  try {
    const answer = await ask("api/line", form());
    if (turn === asked) $("line").replaceChildren(...answer.line.flatMap((word) => [" ", make("span", {}, quoted(word))]).slice(1));
  } catch (error) {
    if (turn === asked) $("line").textContent = error.message;
  }
}

const changed = () => { $("bill").replaceChildren(); showRecipe(); suggestName(); showLine(); };

async function showPrice() {
  $("bill").replaceChildren(make("p", { class: "more" }, "The model is opened to count; a moment."));
  try {
    const bill = await ask("api/price", form());
    const rows = bill.stages.filter((stage) => stage.minutes > 0).map((stage) =>
      make("tr", {}, make("td", {}, stage.name), make("td", { class: "n" }, minutes(stage.minutes)), make("td", { class: "n" }, bytes(stage.main))));
    $("bill").replaceChildren(
      make("p", {}, `${minutes(bill.minutes)}, ${bytes(bill.device || bill.main)} of memory (${bytes(bill.free)} is free), ${bytes(bill.disk)} on the disk.`),
      make("table", {}, make("tbody", {}, ...rows)),
      ...bill.notes.map((note) => make("p", { class: "more" }, note)));
  } catch (error) {
    $("bill").replaceChildren(make("p", { class: "bad" }, error.message));
  }
}

// Jobs

const shown = { waiting: "waiting", running: "running", done: "done", failed: "failed", stopped: "stopped", lost: "ended without a word" };

// Multiples of 1, 2 or 5 times a power of ten, two to six of them between two values.
function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const marks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) marks.push(Number((n * step).toPrecision(12)));
  return marks;
}

const draw = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// Losses by step, or those of each matrix that was solved for, which no line joins; what is drawn
// lies in a frame of 320 by 150.
const FRAME = { left: 52, right: 302, top: 8, bottom: 112 };
function curve(points, trained = true) {
  if (points.length < 2) return null;
  const steps = points.map((p) => p[0]), values = points.map((p) => p[1]);
  const first = Math.min(...steps), last = Math.max(...steps), low = Math.min(...values), high = Math.max(...values);
  const x = (step) => FRAME.left + ((FRAME.right - FRAME.left) * (step - first)) / Math.max(1, last - first);
  const y = (loss) => (high > low ? FRAME.bottom - ((FRAME.bottom - FRAME.top) * (loss - low)) / (high - low) : (FRAME.top + FRAME.bottom) / 2);
  const across = ticks(first, last).filter(Number.isInteger), up = high > low ? ticks(low, high) : [low];
  return draw("svg", { viewBox: "0 0 320 150", class: "curve", role: "img", "aria-label": trained ? `loss by step, from ${values[0].toPrecision(3)} at step ${steps[0]} to ${values.at(-1).toPrecision(3)} at step ${steps.at(-1)}` : `loss of each of ${points.length} weight matrices, from ${low.toPrecision(3)} to ${high.toPrecision(3)}` },
    ...up.map((loss) => draw("line", { class: "grid", x1: FRAME.left, x2: FRAME.right, y1: y(loss), y2: y(loss) })),
    draw("path", { class: "axis", d: `M${FRAME.left},${FRAME.top}V${FRAME.bottom}H${FRAME.right}` }),
    ...across.map((step) => draw("text", { class: "x", x: x(step), y: FRAME.bottom + 14 }, step.toLocaleString("en"))),
    ...up.map((loss) => draw("text", { class: "y", x: FRAME.left - 5, y: y(loss) + 3.5 }, String(Math.abs(loss) >= 1e-3 || loss === 0 ? Number(loss.toPrecision(3)) : loss.toExponential(0)))),
    draw("text", { class: "x title", x: (FRAME.left + FRAME.right) / 2, y: 144 }, trained ? "step" : "step or weight matrix, in order"),
    draw("text", { class: "x title", transform: `translate(11 ${(FRAME.top + FRAME.bottom) / 2}) rotate(-90)` }, "loss"),
    draw("path", { class: trained ? "loss" : "loss points", d: `M${points.map(([step, loss]) => `${x(step).toFixed(2)},${y(loss).toFixed(2)}${trained ? "" : "h0"}`).join(trained ? "L" : "M")}` }));
}

function remember(job) {
  const loss = /loss ([\d.e+-]+)/.exec(job.progress?.note ?? "");
  if (!loss || job.state !== "running") return [];
  let points = state.curve.get(job.name) ?? [];
  if (points.at(-1)?.[0] > job.progress.done) points = []; // another training has begun
  if (points.at(-1)?.[0] !== job.progress.done) points.push([job.progress.done, Number(loss[1])]);
  state.curve.set(job.name, points);
  return points;
}

// What a job that is done has to say without being unfolded: where it wrote, and its notices.
const outcome = (job) => [
  ...[...job.output.matchAll(/^written +(.+)$/gm)].map(([, place]) => `written: ${place}`),
  ...job.messages.split("\n").filter((line) => line.startsWith("notice: "))];

function jobItem(job) {
  const p = job.state === "running" ? job.progress : null;
  const left = p && p.done > 0 ? (p.seconds / p.done) * (p.total - p.done) : null;
  const trouble = ["failed", "lost"].includes(job.state);
  const last = job.messages.trim().split("\n").at(-1) ?? "";
  return make("li", {},
    make("div", {}, make("strong", {}, job.title), " ", make("span", { class: trouble ? "bad" : "more" }, shown[job.state])),
    p && make("div", {}, `${p.stage} ${p.done} of ${p.total}${left === null ? "" : `, ${minutes(left / 60)} left in this stage`} ${p.note}`,
      make("progress", { max: Math.max(1, p.total), value: p.done, "aria-label": p.stage })),
    curve(remember(job)),
    ["running", "done"].includes(job.state) && job.lines[0][1] === "erase" && job.looks.length > 0 && make("figure", {}, covering(job.name, job.unsafe, "pair wide",
      make("img", { class: "whole", alt: `pictures at ${job.looks.at(-1)}: the concept above, neighbours below`, src: `file/${encodeURIComponent(job.run)}/${job.looks.at(-1)}` })),
      make("figcaption", {}, `step ${Number(job.looks.at(-1).replace(/\D/g, ""))}: the concept above, what is to stay below`)),
    trouble && make("p", { class: "bad" }, last),
    ...(job.state === "done" ? outcome(job) : []).map((line) => make("p", { class: "more" }, line)),
    job.from_elsewhere && make("p", { class: "more" }, "Not begun here by you, so the page does not resume it: read its command, and resume it in a terminal if you trust it."),
    make("details", {}, make("summary", {}, "command and messages"),
      ...job.lines.map((line) => make("pre", {}, line.map(quoted).join(" "))), make("pre", {}, job.messages || "nothing yet"), job.output && make("pre", {}, job.output)),
    make("div", { class: "buttons" },
      ["running", "waiting"].includes(job.state) && make("button", { type: "button", onclick: guarded(async () => { await ask(`api/stop/${job.name}`, {}); await look(); }) }, "Stop"),
      job.can_resume && make("button", { type: "button", onclick: guarded(async () => { await ask(`api/resume/${job.name}`, {}); await look(); }) }, "Resume")) || null);
}

// A job is drawn again only where something of it changed: what is focused, open, scrolled to or
// marked stays. One that runs changes every second, so these go over to its new item.
function showJobs() {
  const list = $("jobs"), names = new Set(state.jobs.map((job) => job.name));
  for (const [name, { item }] of state.items) {
    if (names.has(name)) continue;
    item.remove();
    state.items.delete(name);
  }
  if (!state.items.size) list.replaceChildren(...(names.size ? [] : [make("li", { class: "more" }, "None yet.")]));
  for (const job of state.jobs) {
    const text = JSON.stringify(job), before = state.items.get(job.name);
    if (before?.text === text) continue;
    const item = jobItem(job);
    if (before) takePlace(before.item, item);
    else list.prepend(item);
    state.items.set(job.name, { text, item });
  }
}

function takePlace(before, item) {
  const focused = before.contains(document.activeElement) ? document.activeElement : null;
  item.querySelector("details").open = before.querySelector("details").open;
  const [look, next] = [before, item].map((one) => one.querySelector("img"));
  if (look && next && look.src === next.src) next.replaceWith(look); // it need not be read again
  const down = [...before.querySelectorAll("pre")].map((one) => one.scrollTop);
  before.replaceWith(item);
  item.querySelectorAll("pre").forEach((one, n) => { one.scrollTop = down[n] ?? 0; });
  if (focused) refocus(item, nameOf(focused));
}

// What is drawn again loses the focus: it goes to the control of the same name, or to one near it.
const CONTROLS = "button, summary, input, select, a[href]";
const nameOf = (control) => control.id || control.dataset.key || control.getAttribute("aria-label") || control.textContent;
function refocus(place, name, near = -1) {
  const controls = [...place.querySelectorAll(CONTROLS)];
  (controls.find((one) => nameOf(one) === name) ?? controls.at(near))?.focus({ preventScroll: true });
}
function redraw(place, ...children) {
  const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  place.replaceChildren(...children);
  if (focused !== null) refocus(place, focused, 0);
}

// Runs

// Drawn again only where something changed, so that the focus stays where it is.
function showRuns() {
  const text = JSON.stringify([state.runs, state.run]);
  if (text === state.listed) return;
  state.listed = text;
  const finished = state.runs.filter((run) => run.finished).length;
  const items = state.runs.map((run) => make("li", {},
    make("button", { type: "button", "data-key": run.name, "aria-pressed": String(run.name === state.run), onclick: guarded(() => choose(run.name)) },
      make("span", {}, run.name), make("span", { class: "more" }, run.finished ? run.method : "not finished")),
    finished > 1 && run.finished && make("label", { class: "pick" }, make("input", { type: "checkbox", value: run.name, "aria-label": `compare ${run.name}`, checked: state.picked.has(run.name), onchange: pick }), "compare")));
  redraw($("runs"), ...(items.length ? items : [make("li", { class: "more" }, "None yet: erase something.")]));
  showPicked();
}

function pick(event) {
  if (event.target.checked) state.picked.add(event.target.value);
  else state.picked.delete(event.target.value);
  showPicked();
}

// The page of the comparison is made when it is opened: it counts weights, which may take a moment.
function showPicked() {
  const there = state.runs.filter((run) => run.finished && state.picked.has(run.name)).map((run) => encodeURIComponent(run.name));
  $("compare").replaceChildren(there.length > 1
    ? make("a", { href: `${state.setup.reader}/compare/${there.join("/")}`, target: "_blank", title: "Opens a page of its own; weights are counted for it, which takes a moment" }, `Compare ${there.length} runs`)
    : state.runs.filter((run) => run.finished).length > 1 ? make("span", { class: "more" }, "Tick two or more runs to compare them.") : "");
}

const pictures = new Map();
function picture(address) {
  if (!pictures.has(address)) {
    pictures.set(address, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("a picture could not be read"));
      image.src = address;
    }));
  }
  return pictures.get(address);
}

function cut(address, [left, top, right, bottom]) {
  const canvas = make("canvas", { width: right - left, height: bottom - top });
  picture(address).then((image) => canvas.getContext("2d").drawImage(image, left, top, right - left, bottom - top, 0, 0, right - left, bottom - top)).catch((error) => say(error.message, true));
  return canvas;
}

const addressOf = (run, cell) => `file/${encodeURIComponent(run)}/${encodeURIComponent(cell.file)}`;

// Pictures of an unsafe concept stay blurred until their button is pressed.
const uncovered = new Set();
function covering(name, unsafe, kind, ...shownInside) {
  const covered = unsafe && !uncovered.has(name);
  const box = make("div", { class: covered ? `${kind} covered` : kind }, ...shownInside);
  if (covered) box.append(make("button", { class: "uncover", type: "button", onclick: (event) => { uncovered.add(name); box.classList.remove("covered"); event.currentTarget.remove(); (box.parentElement.querySelector("input") ?? box.closest("li")?.querySelector("summary"))?.focus(); } }, make("span", {}, "show")));
  return box;
}

function pair(run, before, after, covered, other = run) {
  const top = cut(addressOf(other, after), after.box);
  const title = `${before.prompt}, seed ${before.seed}`;
  const box = covering(`${run} ${other} ${before.file} ${title}`, covered, "pair", cut(addressOf(run, before), before.box), top);
  const slide = (share) => { top.style.clipPath = `inset(0 0 0 ${share}%)`; };
  slide(50);
  return make("figure", {}, box,
    make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `before and after: ${title}`, oninput: (event) => slide(event.target.value) }),
    make("figcaption", {}, `${title}: ${before.caption || "before"} → ${after.caption || "after"}`));
}

function pairs(run, cells, covered) {
  const all = [];
  for (let n = 0; n + 1 < cells.length; n += 2) if (cells[n].heading === "before") all.push([cells[n].prompt, pair(run, cells[n], cells[n + 1], covered || cells[n].unsafe)]);
  return folded(run, all);
}

// The first picture of each prompt, and those by other seeds to unfold: what is below is near.
function folded(run, all) {
  const prompts = new Set(), first = [], rest = [];
  for (const [prompt, figure] of all) {
    (prompts.has(prompt) ? rest : first).push(figure);
    prompts.add(prompt);
  }
  const more = rest.length > 0 && make("details", { open: state.unfolded.has(run), ontoggle: (event) => state.unfolded[event.target.open ? "add" : "delete"](run) },
    make("summary", {}, `${rest.length} more by other seeds`), make("div", { class: "pairs" }, ...rest));
  return make("div", {}, make("div", { class: "pairs" }, ...first), more);
}

// What two runs made of the same prompt and seed, one on the other.
function beside(run, other) {
  const key = (cell) => `${cell.seed} ${cell.prompt}`;
  const theirs = new Map(other.cells.filter((cell) => cell.heading === "after").map((cell) => [key(cell), cell]));
  const both = run.cells.filter((cell) => cell.heading === "after" && theirs.has(key(cell)));
  if (!both.length) return make("p", { class: "more" }, "The two runs have no prompt and seed in common.");
  return folded(`${run.name} ${other.name}`, both.map((cell) => [cell.prompt, pair(run.name, cell, theirs.get(key(cell)), run.unsafe || other.unsafe || cell.unsafe, other.name)]));
}

function comparison(run) {
  const others = state.runs.filter((other) => other.finished && other.name !== run.name);
  if (!others.length) return null;
  const place = make("div", {});
  const fill = async () => {
    state.beside = { run: run.name, other: select.value }; // outlives that the run is drawn again
    place.replaceChildren(select.value ? beside(run, await ask(`api/runs/${encodeURIComponent(select.value)}`)) : "");
  };
  const select = make("select", { "aria-label": "the other run", onchange: guarded(fill) },
    make("option", { value: "" }, "choose a run"), ...others.map((other) => make("option", { value: other.name }, `${other.name} (${other.method})`)));
  if (state.beside?.run === run.name && others.some((other) => other.name === state.beside.other)) {
    select.value = state.beside.other;
    guarded(fill)();
  }
  return make("div", {}, make("h3", {}, "Beside another run: left this one, right the other"), select, place);
}


const ABOUT = { ua: "UA: of what was erased, not recognised", ira: "IRA: others of its kind, recognised", cra: "CRA: their other kind, recognised", ra: "RA: all others, recognised" };

function rates(all) {
  const numbers = (rate) => [percent(rate.after), rate.interval ? `${percent(rate.interval[0])} to ${percent(rate.interval[1])}` : "", percent(rate.before)];
  return make("table", { class: "rates" },
    make("thead", {}, make("tr", {}, make("td"), ...["after", "95 % interval", "before"].map((title) => make("th", { scope: "col", class: "n" }, title)))),
    make("tbody", {}, ...all.map((rate) => make("tr", {}, make("th", { scope: "row" }, ABOUT[rate.name]), ...numbers(rate).map((text) => make("td", { class: "n" }, text))))));
}

async function choose(name) {
  state.run = name;
  state.shown = "";
  showRuns();
  await showRun();
}

function action(name, title, values, about) {
  return make("button", { type: "button", title: about ?? "", onclick: guarded(async () => { for (const one of [values()].flat()) await ask(`api/do/${name}`, one); say(`${title}: started, see Jobs`); await look(); }) }, title);
}

async function showRun() {
  if (!state.run) return;
  const run = await ask(`api/runs/${encodeURIComponent(state.run)}`);
  const text = JSON.stringify(run);
  if (text === state.shown) return;
  state.shown = text;
  const rest = run.total - run.moved;
  const typed = state.typed?.run === run.name ? state.typed : { run: run.name, prompt: `an image of a ${run.concepts[0] ?? "church"}`, seed: "0" };
  state.typed = typed; // what was typed outlives that the run is drawn again
  const ownPrompt = make("input", { id: "own-prompt", value: typed.prompt, oninput: (event) => { typed.prompt = event.target.value; } });
  const ownSeed = make("input", { id: "own-seed", value: typed.seed, inputmode: "numeric", oninput: (event) => { typed.seed = event.target.value; } });
  const e = run.evaluation, concepts = [...new Set(run.concepts)];
  if (!concepts.includes(typed.audited)) typed.audited = "";
  const audited = make("select", { id: "audited", "aria-label": "what the audit attacks", onchange: (event) => { typed.audited = event.target.value; } },
    make("option", { value: "" }, "each concept"), ...concepts.map((concept) => make("option", { value: concept, selected: concept === typed.audited }, concept)));
  redraw($("run"), ...[
    make("h3", {}, `Run ${run.name}: ${run.concepts.length ? `${run.concepts.join(", ")} erased` : "not finished"}`),
    run.moved !== null && make("p", { class: run.unselected_identical ? "good" : "" },
      `${counted(run.moved)} weights moved${run.unselected_identical ? `, all ${counted(rest)} others bit-identical` : ""}.`),
    run.verdict && make("p", {}, run.verdict),
    run.edits.length > 1 && make("p", { class: "more" }, `Edits, oldest first: ${run.edits.map((edit) => `${edit.concepts.join(", ")} (${edit.method})`).join("; ")}`),
    run.finished && make("div", {}, make("h3", {}, "Before and after"), pairs(run.name, run.cells, run.unsafe),
      make("h3", {}, "Numbers"),
      e && make("p", {}, e.verdict),
      e && e.rates.length > 0 && rates(e.rates),
      e?.page && make("p", {}, make("a", { href: `${state.setup.reader}/file/${encodeURIComponent(e.run)}/${e.page}`, target: "_blank" }, "the whole report")),
      ...run.audits.map((a) => make("p", {}, concepts.length > 1 && make("strong", {}, `${a.concept}: `), a.sentence, " ",
        a.page && make("a", { href: `${state.setup.reader}/file/${[a.run, ...a.page.split("/")].map(encodeURIComponent).join("/")}`, target: "_blank" }, concepts.length > 1 ? `the whole audit of ${a.concept}` : "the whole audit"))),
      make("div", { class: "buttons" },
        action("evaluate", "Evaluate", () => ({ run: run.name }), "Plain prompts, judged and counted"),
        action("audit", "Audit", () => (typed.audited ? [typed.audited] : concepts).map((concept) => ({ run: run.name, concept })), "The quick attacks, with controls"),
        concepts.length > 1 && audited),
      make("h3", {}, "Your own prompt, before and after"),
      make("div", { class: "own" }, make("label", {}, "Prompt", ownPrompt), make("label", {}, "Seed", ownSeed)),
      make("div", { class: "buttons" }, action("draw", "Draw", () => ({ run: run.name, prompt: ownPrompt.value, seed: ownSeed.value }))),
      ...run.drawings.slice(0, 6).map((drawing) => pairs(drawing.run, drawing.cells, run.unsafe)),
      comparison(run),
      make("h3", {}, "Export, or undo"),
      make("div", { class: "buttons" },
        action("export", "File", () => ({ run: run.name, to: "file", dtype: "fp16" }), "For ComfyUI and A1111, fp16"),
        action("export", "Folder", () => ({ run: run.name, to: "folder", dtype: "" }), "For diffusers"),
        action("export", "Patch", () => ({ run: run.name, to: "patch", dtype: "" }), "The edit alone, to the bit; for the nodes of ComfyUI"),
        action("export", "LoRA", () => ({ run: run.name, to: "lora", dtype: "" }), "The edit as a LoRA: exact where the run has factors, else the nearest"),
        action("undo", "Undo", () => ({ run: run.name }), "Writes the base again, to the bit, beside the run")),
      make("h3", {}, "Losses"), curve(run.losses, hasSteps(run.method)) ?? make("p", { class: "more" }, run.finished ? "This method has none." : "None before the run is finished."),
      run.density && make("h3", {}, "The mask, by block"),
      run.density && make("img", { class: "whole", loading: "lazy", alt: "share of the mask in each block", src: `file/${encodeURIComponent(run.name)}/density.png` }))].filter(present));
}

// What changes by itself

async function look() {
  const [jobs, runs] = await Promise.all([ask("api/jobs"), ask("api/runs")]);
  const ended = state.jobs.filter((old) => ["running", "waiting"].includes(old.state) && !["running", "waiting"].includes(jobs.jobs.find((job) => job.name === old.name)?.state));
  state.jobs = jobs.jobs;
  state.runs = runs.runs;
  showJobs();
  showRuns();
  for (const job of ended) {
    const now = state.jobs.find((other) => other.name === job.name);
    if (!now) continue;
    say(`${now.title}: ${shown[now.state]}`, now.state !== "done");
    if (now.state === "done" && (!state.run || now.run === state.run)) await choose(now.run);
  }
}

async function watch() {
  try {
    if (!document.hidden) await look();
  } catch (error) {
    say(error.message, true);
  }
  setTimeout(watch, 1000);
}

state.runs = [];
$("form").addEventListener("submit", guarded(async () => { const job = await ask("api/do/erase", form()); say(`${job.title}: ${shown[job.state]}`); nameWasTyped = false; await look(); suggestName(); showLine(); }));
$("price").addEventListener("click", guarded(showPrice));
$("copy").addEventListener("click", guarded(async () => {
  if (!navigator.clipboard) throw new Error("the browser copies for pages of this machine alone; select the command and copy it");
  await navigator.clipboard.writeText($("line").textContent);
  say("copied");
}));
$("name").addEventListener("input", () => { nameWasTyped = $("name").value !== ""; showLine(); });
$("method").addEventListener("change", () => { fillMethod(); changed(); });
$("form").addEventListener("input", (event) => { if (event.target !== $("name")) changed(); });
guarded(async () => { state.setup = await ask("api/setup"); fillForm(); showRecipe(); await look(); suggestName(); showLine(); watch(); })();
