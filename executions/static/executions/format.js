// @ts-check
/** What a run page shows, as text and states. Nothing here touches the page. */

/** What is shown of one value; `templatetags/run_format.py` has the same limit. */
const SHOWN_CHARACTERS = 20_000;

/** @type {Record<string, string>} The same table as in `rules/node_states.py`. */
const STATE_AFTER = {
  node_started: "running",
  paused: "waiting",
  answer_refused: "waiting",
  resumed: "running",
  node_completed: "completed",
  node_failed: "failed",
  node_skipped: "skipped",
};
/** Events after which a question, the outcome or the inputs of the page may have changed. */
const CHANGES_MORE = new Set(["paused", "resumed", "answer_refused", "run.cancel_requested"]);

/**
 * @typedef {object} RunEvent
 * @property {number} seq
 * @property {string} type
 * @property {string} at
 * @property {Record<string, any>} data
 */
/**
 * @typedef {object} NodeState
 * @property {string} status
 * @property {string} [name]
 * @property {string} [type]
 * @property {unknown} [output]
 * @property {string[]} [warnings]
 * @property {{message?: string} | string} [error]
 */

/**
 * A JSON value as text for people: text as it is, all else indented; long ones are cut.
 * @param {unknown} value
 */
export function asText(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "";
  if (text.length <= SHOWN_CHARACTERS) return text;
  const size = text.length.toLocaleString("en");
  return `${text.slice(0, SHOWN_CHARACTERS)}\n… (${size} characters in all)`;
}

/**
 * A status as words.
 * @param {string} status
 */
export function words(status) {
  return status.replaceAll("_", " ").toLowerCase();
}

/**
 * The node's state after an event about it; null for an event that says nothing about a node.
 * @param {RunEvent} event
 * @returns {NodeState | null}
 */
export function stateAfter({ type, data }) {
  const status = STATE_AFTER[type];
  if (!status || !data.nodeId) return null;
  const about = { name: data.nodeName, type: data.nodeType };
  if (type === "node_failed" && (data.handling === "continue" || data.handling === "fallback")) {
    return { ...about, status: "completed" };
  }
  return { ...about, status, output: data.output, warnings: data.warnings, error: data.error };
}

/**
 * Whether more than the nodes' states may look different after an event.
 * @param {RunEvent} event
 */
export function changesMore(event) {
  return CHANGES_MORE.has(event.type);
}

/**
 * A node's failure as one sentence.
 * @param {NodeState["error"]} error
 */
export function errorText(error) {
  if (error === undefined || error === null) return "";
  return typeof error === "string" ? error : error.message ?? asText(error);
}

/**
 * The time of day of an ISO moment, in UTC as everywhere on the page.
 * @param {string} moment
 */
export function clock(moment) {
  return new Date(moment).toISOString().slice(11, 19);
}
