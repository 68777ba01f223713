// @ts-check
/** Keeps a run's page up to date: asks for the events after the last one seen, until the end. */

import { asText, changesMore, clock, errorText, stateAfter, words } from "./format.js";

/** @typedef {import("./format.js").RunEvent} RunEvent */
/** @typedef {import("./format.js").NodeState} NodeState */
/**
 * @typedef {object} Step
 * @property {string} key
 * @property {string} kind
 * @property {string} status
 * @property {number} attempts
 * @property {string | null} error
 */

const POLL_MS = 500;
const SLOWEST_POLL_MS = 5000;
const LOG_LENGTH = 300;

const page = /** @type {HTMLElement} */ (document.getElementById("run"));
const url = page.dataset.url ?? "";
let cursor = Number(page.dataset.cursor);
let logged = cursor;

/** An answer that will not get better by asking again. */
class Refused extends Error {}

/** @param {string} address */
async function get(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  if (response.status === 401 || response.status === 403) {
    throw new Refused("You are logged out; reload the page to go on.");
  }
  if (response.status === 404) throw new Refused("This run is not there any more.");
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return (await response.json()).data;
}

/**
 * @param {ParentNode} parent
 * @param {string} name
 */
function part(parent, name) {
  return /** @type {HTMLElement} */ (parent.querySelector(`[data-part="${name}"]`));
}

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} id */
function copyOf(id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  return /** @type {HTMLElement} */ (
    /** @type {Element} */ (template.content.firstElementChild).cloneNode(true)
  );
}

/**
 * Shows text in an element, which is hidden while there is none.
 * @param {HTMLElement} element
 * @param {string} text
 */
function show(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}

/**
 * @param {HTMLElement} element
 * @param {string} status
 */
function showState(element, status) {
  element.className = `state ${status.toLowerCase()}`;
  element.textContent = words(status);
}

/** @param {string} id */
function nodeRow(id) {
  const list = byId("nodes");
  for (const row of list.children) {
    if (/** @type {HTMLElement} */ (row).dataset.node === id) return row;
  }
  const row = copyOf("node-template");
  row.dataset.node = id;
  part(row, "name").textContent = id;
  list.append(row);
  byId("workflow").hidden = false;
  return row;
}

/**
 * @param {string} id
 * @param {NodeState} state
 */
function showNode(id, state) {
  const row = nodeRow(id);
  showState(part(row, "status"), state.status);
  if (state.name) part(row, "name").textContent = state.name;
  show(part(row, "error"), errorText(state.error));
  showWarnings(part(row, "warnings"), state.warnings ?? []);
  const hasOutput = state.output !== undefined && state.output !== null;
  part(row, "output").textContent = hasOutput ? asText(state.output) : "";
  part(row, "more").hidden = !hasOutput;
}

/**
 * @param {HTMLElement} list
 * @param {string[]} warnings
 */
function showWarnings(list, warnings) {
  const lines = warnings.map((warning) => {
    const line = document.createElement("li");
    line.textContent = warning;
    return line;
  });
  list.replaceChildren(...lines);
  list.hidden = lines.length === 0;
}

/** @param {Step[]} steps */
function showSteps(steps) {
  const rows = steps.map((step) => {
    const row = copyOf("step-template");
    const attempts = `${step.attempts} attempt${step.attempts === 1 ? "" : "s"}`;
    showState(part(row, "status"), step.status);
    part(row, "name").textContent = step.key;
    part(row, "facts").textContent = `${step.kind} · ${attempts}`;
    show(part(row, "error"), step.error ?? "");
    return row;
  });
  byId("steps").replaceChildren(...rows);
  byId("journal").hidden = rows.length === 0;
}

/** @param {RunEvent} event */
function log(event) {
  if (event.seq <= logged) return;
  logged = event.seq;
  if (event.type === "metadata") return;
  const line = document.createElement("li");
  const time = document.createElement("time");
  const type = document.createElement("code");
  time.dateTime = event.at;
  time.textContent = clock(event.at);
  type.textContent = event.type;
  line.append(time, " ", type, " ", event.data.nodeName ?? event.data.key ?? "");
  const list = byId("log");
  list.append(line);
  while (list.childElementCount > LOG_LENGTH) list.firstElementChild?.remove();
}

/** @param {Record<string, any>} review */
function reviewForm(review) {
  const known = document.getElementById(`review-${review.inputType}`);
  const form = copyOf(known ? `review-${review.inputType}` : "review-text");
  form.dataset.token = review.tokenId;
  const token = /** @type {HTMLInputElement} */ (form.querySelector('[name="token_id"]'));
  token.value = review.tokenId;
  part(form, "name").textContent = review.nodeName ?? "";
  part(form, "prompt").textContent = review.prompt ?? "";
  show(part(form, "description"), review.description ?? "");
  part(form, "rules").textContent = review.rules ?? "";
  const control = part(form, "control");
  if (review.placeholder) control.setAttribute("placeholder", String(review.placeholder));
  return form;
}

/**
 * Forms of questions that stay open are left alone: somebody may be typing in them.
 * @param {Record<string, any>[]} reviews
 */
function showReviews(reviews) {
  const place = byId("reviews");
  const open = new Set(reviews.map((review) => review.tokenId));
  const shown = new Set();
  for (const form of [...place.children]) {
    const token = /** @type {HTMLElement} */ (form).dataset.token;
    if (open.has(token)) shown.add(token);
    else form.remove();
  }
  for (const review of reviews) {
    if (!shown.has(review.tokenId)) place.append(reviewForm(review));
  }
}

/** Fetches the whole run anew. */
async function refresh() {
  const run = await get(url);
  showState(byId("status"), run.status);
  for (const [id, state] of Object.entries(run.nodes)) showNode(id, state);
  showSteps(run.steps);
  showReviews(run.reviews);
  const cancel = byId("cancel");
  cancel.hidden = run.isFinal;
  if (run.cancelRequested) {
    const button = /** @type {HTMLButtonElement} */ (cancel.querySelector("button"));
    button.disabled = true;
    button.textContent = "Cancelling …";
  }
  const failure = byId("failure");
  failure.hidden = !run.error;
  part(failure, "error").textContent = run.errorText ?? "";
  const result = byId("result");
  const hasOutputs = run.outputs !== null && run.outputs !== undefined;
  result.hidden = !hasOutputs;
  part(result, "outputs").textContent = hasOutputs ? asText(run.outputs) : "";
}

/** @param {RunEvent} event */
function isStale(event) {
  return changesMore(event) || (page.dataset.shows === "steps" && event.type.startsWith("step."));
}

/** Takes in what happened since; whether that was all of it, for good. */
async function step() {
  const found = await get(`${url}/events?after=${cursor}`);
  for (const event of found.events) {
    const state = stateAfter(event);
    if (state) showNode(event.data.nodeId, state);
    log(event);
  }
  showState(byId("status"), found.status);
  // The cursor moves on after the refresh: one that fails is made up for by the next step.
  if (found.isFinal || found.events.some(isStale)) await refresh();
  cursor = found.cursor;
  return found.isFinal;
}

async function follow() {
  let pause = POLL_MS;
  for (let isFinal = page.dataset.final === "true"; !isFinal; ) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    try {
      isFinal = await step();
      pause = POLL_MS;
      show(byId("connection"), "");
    } catch (error) {
      const isOver = error instanceof Refused;
      const message = error instanceof Error ? error.message : String(error);
      show(byId("connection"), isOver ? message : "No connection to the server; trying again …");
      if (isOver) return;
      pause = Math.min(SLOWEST_POLL_MS, pause * 2);
    }
  }
  page.dataset.final = "true";
}

await follow();
