import { $, h, renderList, setAttributes, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { send } from "./live.js";
import { bindLink } from "./route.js";
import { createRow, createTable } from "./table.js";

const GROUP_COLUMNS = ["cause", "queue", "type", "messages", "newest", "error"];
const MESSAGE_COLUMNS = ["number", "conversation", "attempts", "times parked", "last failed", "error"];
const REPLAY_COLUMNS = ["replay", "state", "messages", "progress", "reason"];
const MAX_MESSAGES = 1000;

/** Dead letters: groups by cause, their messages, a dry run of a replay, the replay, and its progress. */
export class Letters {
  #ids = [];
  #group = "";

  constructor(root, store) {
    Object.assign(this, { root, store, groups: h("tbody"), messages: h("tbody"), replays: h("tbody") });
    $(".groups", root).append(createTable("Groups of dead letters", GROUP_COLUMNS, this.groups));
    $(".messages", root).append(createTable("Messages of the group", MESSAGE_COLUMNS, this.messages));
    $(".replays", root).append(createTable("Replays", REPLAY_COLUMNS, this.replays));
    $(".dry-run", root).addEventListener("click", () => this.#dryRun());
    $(".replay", root).addEventListener("click", () => this.#replay());
  }

  /** Show the group and the message that the address names. */
  async show({ group = "", message = "" }) {
    if (group !== this.#group) {
      this.#group = group;
      await this.#loadGroup();
    }
    await this.#showMessage(message);
  }

  render() {
    const groups = Object.values(this.store.section("failure_groups"));
    $(".none", this.root).hidden = groups.length > 0;
    renderList(this.groups, groups, (group) => group.failure_group, createGroupRow, (row, group) => {
      setText(row.link, group.cause);
      row.classList.toggle("chosen", group.failure_group === this.#group);
      [group.queue, group.type, count(group.messages), time(group.newest), group.error].forEach((text, n) => setText(row.cells[n + 1], text));
    });
    const replays = Object.values(this.store.section("replays"));
    $(".replays", this.root).hidden = replays.length === 0;
    renderList(this.replays, replays, (replay) => replay.id, createRow(REPLAY_COLUMNS.length), (row, replay) => {
      const progress = Object.entries(replay.counts).filter(([, messages]) => messages);
      const text = progress.map(([state, messages]) => `${count(messages)} ${state.replaceAll("_", " ")}`).join(", ");
      [replay.id, replay.state, count(replay.messages), text, replay.reason].forEach((cell, n) => setText(row.cells[n], cell));
    });
  }

  async #loadGroup() {
    const panel = $(".group", this.root);
    panel.hidden = this.#group === "";
    this.#setPlan("", 0);
    if (!this.#group) return;
    const query = new URLSearchParams({ failure_group: this.#group, limit: MAX_MESSAGES });
    const { status, body } = await send("GET", `/v1/dead-letters?${query}`);
    const letters = status === 200 ? body.dead_letters : [];
    this.#ids = letters.filter((letter) => letter.state === "parked").map((letter) => letter.id);
    const shown = `${body.next ? "the newest " : ""}${plural(letters.length, "message")}`;
    setText($(".count", panel), status === 200 ? `${shown}, ${count(this.#ids.length)} of them parked` : body.detail);
    setAttributes($(".dry-run", this.root), { disabled: this.#ids.length === 0 });
    renderList(this.messages, letters, (letter) => letter.id, createMessageRow, (row, letter) => {
      [letter.conversation_id, count(letter.attempts), count(letter.times_parked), time(letter.last_failed_at), letter.error].forEach((text, n) =>
        setText(row.cells[n + 1], text),
      );
    });
  }

  async #showMessage(message) {
    const panel = $(".message", this.root);
    panel.hidden = !message;
    if (!message) return;
    const { status, body } = await send("GET", `/v1/dead-letters/${message}`);
    setText(panel, status === 200 ? describeMessage(body) : body.detail);
  }

  async #dryRun() {
    const { status, body } = await this.#request(true);
    if (status !== 200) return this.#setPlan(body.detail, 0);
    const left = body.ineligible.map(({ reason, messages }) => `${count(messages)} not: ${reason}`);
    this.#setPlan([`${count(body.messages)} would be sent`, ...left].join("; "), body.messages);
  }

  async #replay() {
    const { status, body } = await this.#request(false);
    this.#setPlan(status === 202 ? `replay ${body.id} has started` : body.detail, 0);
  }

  /** Ask for a replay of exactly the messages that are shown. */
  #request(dry_run) {
    const rate = Number($("[name=rate]", this.root).value);
    return send("POST", "/v1/replays", { selection: { ids: this.#ids }, dry_run, ...(rate ? { rate_per_s: rate } : {}) });
  }

  #setPlan(text, messages) {
    setText($(".plan", this.root), text);
    const button = $(".replay", this.root);
    setText(button, messages ? `Replay ${plural(messages, "message")}` : "Replay");
    setAttributes(button, { disabled: messages === 0 });
  }
}

function createGroupRow({ failure_group }) {
  const link = bindLink(h("a"), { section: "dead-letters", group: failure_group, message: null });
  const cells = Array.from({ length: GROUP_COLUMNS.length - 1 }, () => h("td"));
  return Object.assign(h("tr", {}, h("th", { scope: "row" }, link), cells), { link });
}

function createMessageRow({ id }) {
  const link = bindLink(h("a", {}, id), { section: "dead-letters", message: id });
  const cells = Array.from({ length: MESSAGE_COLUMNS.length - 1 }, () => h("td"));
  return h("tr", {}, h("th", { scope: "row" }, link), cells);
}

function describeMessage({ summary, headers, payload, failures }) {
  const lines = [
    `${summary.type} ${summary.message_id}`,
    ...failures.map((failure) => `${failure.at} ${failure.cause}: ${failure.error}`),
    "",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
    payload.text ?? `(${payload.base64?.length ?? 0} characters of Base64)`,
  ];
  return lines.join("\n");
}

const time = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
