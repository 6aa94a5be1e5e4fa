import { $, setAttributes, setText } from "./dom.js";
import { send } from "./live.js";

/** One dead letter: its failures and notes, the message as a replay would send it, and a new version of it. */
export class Letter {
  #id = "";
  #view = null;

  /** `onChange` is called once a version has been added. */
  constructor(root, onChange) {
    Object.assign(this, { root, onChange });
    $(".note", root).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#addNote(event.target.elements.text);
    });
    $(".edit", root).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#addVersion(event.target.elements);
    });
  }

  async show(id) {
    this.#id = id;
    this.root.hidden = !id;
    if (!id) return;
    const { status, body } = await send("GET", `/v1/dead-letters/${id}`);
    if (id !== this.#id) return;
    if (status === 200) this.#render(body);
    else setText($(".message", this.root), body.detail);
    setText($(".result", this.root), "");
  }

  #render(view) {
    this.#view = view;
    setText($(".message", this.root), describe(view));
    const { headers, payload } = newest(view);
    const { elements } = $(".edit", this.root);
    elements.payload.value = payload.text ?? "";
    elements.headers.value = headerLines(headers).join("\n");
    elements.reason.value = "";
    const isParked = view.summary.state === "parked";
    setText($(".edit button", this.root), `Save as version ${view.summary.version + 1}`);
    setAttributes($(".edit button", this.root), { disabled: !isParked });
    setAttributes(elements.payload, { disabled: payload.text === null || payload.text === undefined });
  }

  async #addNote(field) {
    const { status, body } = await send("POST", `/v1/dead-letters/${this.#id}/notes`, { text: field.value });
    if (status < 300) {
      field.value = "";
      this.#render(body);
    }
    setText($(".result", this.root), status < 300 ? "the note is kept with the message" : body.detail);
  }

  async #addVersion({ payload, headers, reason }) {
    const known = newest(this.#view);
    const parsed = parseHeaders(headers.value);
    if (parsed.problem) return setText($(".result", this.root), parsed.problem);
    const changed = changedHeaders(known.headers, parsed.headers);
    const isOtherBody = !payload.disabled && payload.value !== known.payload.text;
    if (!isOtherBody && Object.keys(changed).length === 0) return setText($(".result", this.root), "nothing is changed");
    const edit = { reason: reason.value, headers: changed, ...(isOtherBody ? { payload: { text: payload.value } } : {}) };
    const { status, body } = await send("POST", `/v1/dead-letters/${this.#id}/versions`, edit);
    if (status < 300) {
      this.#render(body);
      this.onChange();
    }
    const saved = `version ${body.summary?.version} is what a replay sends; the original is kept`;
    setText($(".result", this.root), status < 300 ? saved : body.detail);
  }
}

/** The message as a replay would send it. */
const newest = ({ headers, payload, versions }) => versions.at(-1) ?? { headers, payload };
const headerLines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`);

function parseHeaders(text) {
  const headers = {};
  for (const line of text.split("\n").filter((each) => each.trim())) {
    const colon = line.indexOf(":");
    if (colon < 1) return { problem: `write a header as name: value, not ${line}` };
    headers[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
  }
  return { headers };
}

/** Headers to set, and those to remove as null. */
function changedHeaders(before, after) {
  const set = Object.entries(after).filter(([name, value]) => before[name]?.trim() !== value);
  const removed = Object.keys(before).filter((name) => !(name in after)).map((name) => [name, null]);
  return Object.fromEntries([...set, ...removed]);
}

function describe({ summary, headers, payload, failures, notes, versions, replays }) {
  const lines = [
    `${summary.type} ${summary.message_id}, ${summary.state}${summary.reason ? `: ${summary.reason}` : ""}`,
    ...failures.map(({ at, cause, error, replay }) => `failed   ${at} ${cause}: ${error}${replay ? ` (replay ${replay})` : ""}`),
    ...notes.map(({ at, operator, text }) => `note     ${at} ${operator}: ${text}`),
    ...versions.map(({ number, at, operator, reason }) => `version ${number} ${at} ${operator}: ${reason}`),
    ...replays.map((id) => `replay   ${id}`),
    "",
    "as received:",
    ...headerLines(headers),
    "",
    payload.text ?? `(${payload.base64?.length ?? 0} characters of Base64)`,
  ];
  return lines.join("\n");
}
