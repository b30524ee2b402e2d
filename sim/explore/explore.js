// The page of `servecap explore`: knobs on the left, the answer on the right. Figures come as the server renders them.
"use strict";

const el = (id) => document.getElementById(id);
const PAUSE_MS = 300, LOOK_MS = 120;
const state = { turned: new Map(), fixed: [], pinned: null, facts: null, title: "", job: null, round: 0 };

async function call(method, path, data) {
  const body = data === undefined ? {} : { body: JSON.stringify(data), headers: { "Content-Type": "application/json" } };
  const response = await fetch(path, { method, ...body });
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

const overrides = () => [...state.fixed, ...[...state.turned].map(([key, value]) => `${key}=${value}`)];

// ---- knobs

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// A key that may break behind its dots and lines.
const parted = (key) => key.split(/(?<=[._])/).flatMap((part) => [part, node("wbr")]);

const said = (value) => (value === null || value === undefined ? "" : String(value));

function knob(told) {
  const id = `k-${told.key}`;
  const turned = state.turned.get(told.key);
  let input;
  if (told.shape === "choice" || told.shape === "switch") {
    input = node("select", { id }, node("option", { value: "" }, "as it is"));
    for (const choice of told.choices) input.append(node("option", { value: choice }, choice));
  } else {
    const number = told.shape === "number";
    input = node("input", { id, type: "text", inputmode: number ? "decimal" : "text", autocomplete: "off", placeholder: said(told.default) });
  }
  input.value = turned === undefined ? "" : turned;
  input.dataset.key = told.key;
  input.addEventListener("change", () => turn(told.key, input.value.trim()));
  if (input.tagName === "INPUT") input.addEventListener("input", () => turn(told.key, input.value.trim()));
  const back = node("button", { type: "button", class: "back", title: "Back to what it was", "aria-label": `Reset ${told.key}` }, "↺");
  back.addEventListener("click", () => { input.value = ""; turn(told.key, ""); });
  const more = node("details", {}, node("summary", {}, "what it is"),
    node("p", {}, told.description), node("p", {}, `${told.legal ? `Legal: ${told.legal}. ` : ""}${told.source ? `Default: ${told.source}` : ""}`));
  return node("div", { class: turned === undefined ? "knob" : "knob turned" },
    node("label", { for: id, class: "name" }, node("b", {}, ...parted(told.key)), node("span", { class: "unit" }, told.unit === "choice" || told.unit === "text" ? "" : told.unit)),
    node("div", { class: "row" }, input, back), more);
}

function turn(key, value) {
  if (value === "") state.turned.delete(key);
  else if (state.turned.get(key) === value) return;
  else state.turned.set(key, value);
  for (const input of document.querySelectorAll("[data-key]")) {
    if (input.dataset.key === key) input.closest(".knob").classList.toggle("turned", value !== "");
  }
  changed();
}

async function showShelf() {
  const groups = await call("GET", "knobs");
  const shown = new Set(groups.flatMap((group) => group.knobs.map((one) => one.key)));
  const own = [...state.turned.keys()].filter((key) => !shown.has(key));
  el("shelf").replaceChildren(...groups.map((group) =>
    node("fieldset", {}, node("legend", {}, group.title), ...group.knobs.map(knob))));
  if (own.length) {
    const told = (await Promise.all(own.map((key) => call("GET", `knobs/find?q=${encodeURIComponent(key)}`))))
      .map((found, index) => found.find((one) => one.key === own[index]) ||
        { key: own[index], shape: "text", unit: "", default: null, legal: "", description: "", source: "", choices: [] });
    el("shelf").prepend(node("fieldset", {}, node("legend", {}, "Turned"), ...told.map(knob)));
  }
}

let finding = 0;
el("find").addEventListener("input", () => {
  const turnNumber = ++finding;
  setTimeout(async () => {
    const asked = el("find").value.trim();
    const found = asked.length < 2 ? [] : await call("GET", `knobs/find?q=${encodeURIComponent(asked)}`);
    if (turnNumber !== finding) return;
    const none = asked.length >= 2 && !found.length ? [node("p", { class: "quiet" }, "No key and no description has it.")] : [];
    el("found").replaceChildren(...none, ...found.map(knob));
  }, 200);
});
el("knobs").addEventListener("submit", (event) => event.preventDefault());

// ---- jobs

function changed() {
  remember();
  el("answer").classList.add("old");
  const round = ++state.round;
  el("export").replaceChildren();
  call("POST", "command", { overrides: overrides() }).then((found) => { el("command").textContent = found.command; });
  setTimeout(() => { if (round === state.round) answer(round); }, PAUSE_MS);
}

async function answer(round) {
  await stop();
  const first = await run("preview", "Preview", round);
  if (!first) return;
  show(first);
  if (!first.cut) return tell(`All ${first.requests.toLocaleString("en")} requests of ${first.traffic}.`);
  const whole = await run("whole", `Preview of the first ${first.requests} requests is shown; now all`, round);
  if (!whole) return;
  show(whole);
  tell(`All ${whole.requests.toLocaleString("en")} requests of ${whole.traffic}.`);
}

async function run(how, words, round = state.round) {
  tell(`${words} …`);
  wrong("");
  let job;
  try {
    job = await call("POST", "jobs", { overrides: overrides(), how });
    if (how !== "preview") { state.job = job.job; el("cancel").hidden = false; }
    while (job.state === "waiting" || job.state === "running") {
      await new Promise((next) => setTimeout(next, LOOK_MS));
      if (round !== state.round) return null;
      job = await call("GET", `jobs/${job.job}`);
      if (job.text) tell(`${words}: ${job.text}`);
    }
  } catch (error) {
    wrong(`The server does not answer: ${error.message}`);
    return null;
  } finally {
    if (round === state.round && how !== "preview") { state.job = null; el("cancel").hidden = true; }
  }
  if (round !== state.round) return null;
  if (job.state === "done") return { ...job.answer, job: job.job };
  if (job.state === "cancelled") tell(how === "preview" ? "" : "Cancelled; what is shown is what was known before.");
  else { tell("No answer."); wrong(job.state === "fault" ? `A defect of servecap, not of your input: ${job.text}` : job.text); }
  return null;
}

async function stop() {
  if (state.job === null) return;
  const number = state.job;
  state.job = null;
  el("cancel").hidden = true;
  await call("DELETE", `jobs/${number}`).catch(() => {});
}

// HTML as the server's templates made it; its charts read as on a run's page.
function fill(place, html) {
  servecapStill(place);
  place.innerHTML = html;
  servecapRead(place);
}

function show(found) {
  fill(el("answer"), found.html);
  el("answer").classList.remove("old");
  el("answer").dataset.requests = found.requests;
  el("beside").replaceChildren(...(found.solved ? [node("p", { class: "verdict" }, found.solved)] : []));
  state.facts = found.facts;
  state.title = found.title;
  document.title = `${found.verdict}: ${found.title}`;
  for (const input of document.querySelectorAll("[data-key]")) {
    const value = said(found.values[input.dataset.key]);
    if (input.tagName === "INPUT") input.placeholder = value;
    else if (value && input.options[0]) input.options[0].textContent = `${value} (as it is)`;
  }
  for (const name of ["model", "gpu", "workload", "slo"]) {
    const select = el(`k-${name}`);
    if (select && select.options[0] && found.values[`${name}.name`]) select.options[0].textContent = `${found.values[`${name}.name`]} (as it is)`;
  }
  compare();
}

// What one scenario states and the other does not.
const apart = (own, other) => own.filter((one) => !other.includes(one)).join(" ") || "as configured";

function compare() {
  const box = el("pinned");
  box.hidden = state.pinned === null || state.facts === null;
  el("pin").textContent = state.pinned === null ? "Pin" : "Unpin";
  if (box.hidden) return;
  const cheaper = (name) => !/within|tokens a second/.test(name);
  const rows = state.facts.map((fact, index) => {
    const before = state.pinned.facts[index];
    const known = fact.value !== null && before.value !== null && before.value !== 0;
    const share = known ? (fact.value / before.value - 1) * 100 : NaN;
    const better = share < 0 === cheaper(fact.name);
    const kind = !known || Math.abs(share) < 0.05 || /busy|GPUs/.test(fact.name) ? "" : better ? "better" : "worse";
    const change = !known ? "–" : Math.abs(share) < 0.05 ? "0.0 %" : `${share > 0 ? "+" : ""}${share.toFixed(1)} %`;
    return node("tr", {}, node("td", { class: "text" }, fact.name), node("td", {}, before.text), node("td", {}, fact.text), node("td", { class: kind }, change));
  });
  const head = ["", "pinned", "now", "change"].map((words) => node("th", {}, words));
  const unpaired = state.pinned.requests === Number(el("answer").dataset.requests) ? "" :
    ` The pinned figures are of ${state.pinned.requests} requests, these of ${el("answer").dataset.requests}.`;
  box.replaceChildren(node("h2", {}, "Against what is pinned"),
    node("p", {}, `${apart(overrides(), state.pinned.overrides)} against ${apart(state.pinned.overrides, overrides())}. ` +
      `One run each: \`servecap compare\` tells what is noise.${unpaired}`),
    node("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "table: now against pinned" }, node("table", {}, node("thead", {}, node("tr", {}, ...head)), node("tbody", {}, ...rows))));
}

const tell = (words) => { el("state").textContent = words; };
function wrong(words) { el("error").hidden = !words; el("error").textContent = words; }

// ---- buttons

el("cancel").addEventListener("click", async () => { await stop(); });
el("pin").addEventListener("click", () => {
  state.pinned = state.pinned === null && state.facts !== null
    ? { facts: state.facts, title: state.title, requests: Number(el("answer").dataset.requests), overrides: overrides() } : null;
  compare();
});
el("reset").addEventListener("click", async () => { state.turned.clear(); await showShelf(); changed(); });
el("size").addEventListener("click", async () => {
  const round = ++state.round;
  await stop();
  const found = await run("replicas", "Searching for the fewest replicas", round);
  if (found) { show(found); tell("Searched; turn fleet.replicas to keep it."); }
});
el("around").addEventListener("click", async () => {
  const round = ++state.round;
  await stop();
  const found = await run("around", "Simulating other batch sizes and loads", round);
  if (found) { fill(el("beside"), found.html); tell("Around the scenario."); }
});
el("folder").addEventListener("click", async () => {
  const round = ++state.round;
  await stop();
  const found = await run("folder", "Writing the run", round);
  if (!found) return;
  tell("Written.");
  el("export").replaceChildren(node("a", { href: `jobs/${found.job}/report`, target: "_blank" }, "its page"), " · ",
    node("a", { href: `jobs/${found.job}/archive` }, "the run folder (tar.gz)"));
});

async function copy(text, words) {
  try { await navigator.clipboard.writeText(text); tell(words); } catch { tell(text); }
}
el("copy").addEventListener("click", () => copy(el("command").textContent, "The command is copied."));
el("link").addEventListener("click", () => copy(location.href, "The link is copied; it restores every knob."));

// ---- the address holds the state

function remember() {
  const data = JSON.stringify({ turned: [...state.turned], fixed: state.fixed });
  history.replaceState(null, "", state.turned.size || state.fixed.length ? `#${encodeURIComponent(data)}` : location.pathname);
}

function recalled() {
  try {
    const data = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    state.turned = new Map(data.turned);
    state.fixed = data.fixed;
    return true;
  } catch { return false; }
}

async function begin() {
  if (!recalled()) {
    for (const one of (await call("GET", "start")).overrides) {
      const place = one.indexOf("=");
      if (/^[a-z][\w.]*=/.test(one)) state.turned.set(one.slice(0, place), one.slice(place + 1));
      else state.fixed.push(one);
    }
  }
  await showShelf();
  changed();
}
window.addEventListener("hashchange", () => { if (recalled()) begin(); });
begin();
