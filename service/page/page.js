// The page: sends the picture and the wishes at each change, keeps only the latest request, and shows its answer.

import { Problem, key, models, picture, translate, translatePath } from "./api.js";
import { Compare } from "./compare.js";
import { Domains, pretty } from "./domains.js";
import { showFacts } from "./facts.js";

const PAUSE_MS = 120; // a slider's many changes make one request
const $ = (id) => document.getElementById(id);

const compare = new Compare($("compare"));
const domains = new Domains($("domains"), () => wish({ sheet: false }));
const state = { models: [], source: null, sheet: false, asking: null, timer: 0, url: "" };

$("file").addEventListener("change", () => take($("file").files[0]));
$("another").addEventListener("click", () => $("file").click());
$("model").addEventListener("change", () => { domains.show(model()); showSamples(); wish(); });
$("strength").addEventListener("input", () => { paintStrength(); wish(); });
for (const id of ["format", "region", "size"]) $(id).addEventListener("change", () => wish());
$("sheet").addEventListener("click", () => wish({ sheet: !state.sheet }));
$("reset").addEventListener("click", reset);
$("copy").addEventListener("click", copyCurl);
$("retry").addEventListener("click", () => (state.models.length ? ask() : start()));
$("locked").addEventListener("submit", unlock);
$("controls").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("paste", (event) => take(pictureIn(event.clipboardData)));
window.addEventListener("hashchange", () => { readFragment(); wish(); });
listenForDrops();
start();
// RECAST_DOCS=false removes the page of the API, so its link shows only if it answers.
fetch("docs", { method: "HEAD" }).then((response) => { $("docs-link").hidden = !response.ok; }, () => null);

async function start() {
  try {
    state.models = await models();
    setProblem(null);
    $("locked").hidden = true;
  } catch (error) {
    $("controls").hidden = true;
    return setProblem(error);
  }
  $("controls").hidden = false;
  if (!state.models.length) {
    $("hint").textContent = "There is no model yet. Put a bundle into the store, then load this page again.";
    return;
  }
  $("model").replaceChildren(...state.models.map((each) => new Option(each.title, each.name)));
  $("model-row").hidden = state.models.length < 2;
  $("tuning").hidden = false;
  domains.show(model());
  readFragment();
  hint();
  await showSamples();
}

function model() {
  return state.models.find((each) => each.name === $("model").value) ?? state.models[0];
}

function options() {
  return {
    domains: state.sheet ? ["*"] : domains.terms,
    model: state.models.length > 1 ? model().name : "",
    strength: Number($("strength").value),
    region: $("region").value,
    format: $("format").value,
    size: $("size").value,
  };
}

/** Takes a picture from a file, a drop, the clipboard or a sample. */
async function take(blob, name = blob?.name) {
  if (!blob) return;
  state.source = { blob, name: name || "picture.png" };
  $("drop").hidden = true;
  $("actions").hidden = false;
  forget();
  await compare.original(blob);
  hint();
  ask();
}

/** After a change of the wish: shows it, keeps it in the address, and asks the service after a pause. */
function wish({ sheet = state.sheet } = {}) {
  state.sheet = sheet;
  $("sheet").setAttribute("aria-pressed", String(sheet));
  writeFragment();
  hint();
  clearTimeout(state.timer);
  state.timer = setTimeout(ask, PAUSE_MS);
}

async function ask() {
  clearTimeout(state.timer);
  state.asking?.abort();
  state.asking = null;
  if (!state.source || !options().domains.length) return forget();
  const asking = (state.asking = new AbortController());
  $("stage").setAttribute("aria-busy", "true");
  try {
    const answer = await translate(state.source.blob, options(), asking.signal);
    if (asking !== state.asking) return;
    await compare.translated(answer.blob, { alone: state.sheet });
    setProblem(null);
    offer(answer);
  } catch (error) {
    if (asking !== state.asking || error.name === "AbortError") return;
    forget();
    setProblem(error);
  } finally {
    if (asking === state.asking) $("stage").setAttribute("aria-busy", "false");
  }
}

/** Removes everything that belongs to the last answer. */
function forget() {
  compare.clear();
  setProblem(null);
  $("stage").setAttribute("aria-busy", "false");
  $("facts").replaceChildren();
  $("download").hidden = true;
}

function offer(answer) {
  URL.revokeObjectURL(state.url);
  state.url = URL.createObjectURL(answer.blob);
  const suffix = answer.blob.type.replace("image/", "").replace("jpeg", "jpg");
  const what = state.sheet ? "sheet" : domains.terms.join("_").replaceAll("-", "no-");
  $("download").href = state.url;
  $("download").download = `${state.source.name.replace(/\.[^.]*$/, "")}-${what}.${suffix}`;
  $("download").hidden = false;
  showFacts($("facts"), answer);
}

function hint() {
  const chosen = options().domains.length > 0;
  const text = state.source
    ? chosen ? "" : "Now choose what to change."
    : chosen ? "Now choose a picture." : "Choose a picture, then what to change in it.";
  $("hint").textContent = text;
}

function setProblem(error) {
  $("problem").hidden = !error;
  if (!error) return;
  if (!(error instanceof Problem)) error = new Problem({ title: "The picture can’t be shown", detail: error.message, code: "page", status: 0 });
  $("locked").hidden = error.status !== 401;
  $("problem-title").textContent = error.title;
  $("problem-detail").textContent = error.detail ?? "";
  $("problem-code").textContent = [error.code, error.requestId].filter(Boolean).join(" · ");
  $("retry").hidden = !(error.status === 0 || error.status === 429 || error.status >= 500);
  if (error.status === 401) $("key").focus();
}

function unlock(event) {
  event.preventDefault();
  key.set($("key").value);
  $("locked").hidden = true;
  if (state.models.length) ask();
  else start();
}

function reset() {
  domains.terms = [];
  $("strength").value = "1";
  for (const id of ["format", "region", "size"]) $(id).selectedIndex = 0;
  paintStrength();
  wish({ sheet: false });
}

function paintStrength() {
  $("strength-value").textContent = Number($("strength").value).toFixed(2);
}

/** Shows the samples of the chosen model, which suit it; if it has none, those of all models. */
async function showSamples() {
  const chosen = model();
  const owners = chosen.samples.length ? [chosen] : state.models;
  const all = owners.flatMap((each) => each.samples.map((path) => ({ path, model: each })));
  const items = await Promise.all(all.map(sample));
  if (chosen !== model()) return;
  $("sample-list").replaceChildren(...items.filter(Boolean));
  $("samples").hidden = !$("sample-list").children.length;
}

async function sample({ path, model: owner }, index) {
  const blob = await picture(path).catch(() => null);
  if (!blob) return null;
  const item = document.createElement("li");
  const button = document.createElement("button");
  const image = new Image(96, 96);
  image.alt = `Sample ${index + 1}: ${pretty(owner.title)}`;
  image.src = URL.createObjectURL(blob);
  button.type = "button";
  button.append(image);
  button.addEventListener("click", () => {
    if (owner !== model()) {
      $("model").value = owner.name;
      domains.show(owner);
      showSamples();
      wish({ sheet: false });
    }
    take(blob, decodeURIComponent(path.split("/").pop()));
  });
  item.append(button);
  return item;
}

function readFragment() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const named = state.models.find((each) => each.name === fragment.get("model"));
  if (named && named !== model()) {
    $("model").value = named.name;
    domains.show(named);
    showSamples();
  }
  const terms = (fragment.get("domains") ?? "").split(",").filter(Boolean);
  state.sheet = terms.includes("*");
  $("sheet").setAttribute("aria-pressed", String(state.sheet));
  domains.terms = terms;
  if (fragment.has("strength")) $("strength").value = fragment.get("strength");
  paintStrength();
}

function writeFragment() {
  const { domains: terms, model: name, strength } = options();
  const fragment = new URLSearchParams();
  if (name) fragment.set("model", name);
  if (terms.length) fragment.set("domains", terms.join(","));
  if (strength !== 1) fragment.set("strength", String(strength));
  const text = fragment.toString().replaceAll("%2C", ",");
  history.replaceState(null, "", text ? `#${text}` : location.pathname);
}

async function copyCurl() {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const wanted = options();
  if (!wanted.domains.length) wanted.domains = [model().domains[0].name];
  const url = new URL(translatePath(wanted), document.baseURI).href;
  const locked = key.get() ? ` -H "Authorization: Bearer $RECAST_KEY"` : "";
  const suffix = wanted.format || "png";
  const command = `curl --fail-with-body${locked} -F ${quote(`image=@${state.source.name}`)} ${quote(url)} -o recast.${suffix}`;
  const copied = await navigator.clipboard?.writeText(command).then(() => true, () => false);
  $("copy").textContent = copied ? "Copied" : "Copy as curl";
  if (!copied) prompt("Copy this command", command);
  setTimeout(() => { $("copy").textContent = "Copy as curl"; }, 1500);
}

function listenForDrops() {
  const stage = $("stage");
  const mark = (over) => stage.classList.toggle("over", over);
  document.addEventListener("dragover", (event) => { event.preventDefault(); mark(true); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    take(pictureIn(event.dataTransfer));
  });
}

function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
}
