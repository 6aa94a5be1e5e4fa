import { $, h, renderList, setAttributes, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { Letter } from "./letter.js";
import { send } from "./live.js";
import { bindLink } from "./route.js";
import { createRow, createTable } from "./table.js";

const GROUP_COLUMNS = ["cause", "queue", "type", "messages", "newest", "error"];
const MESSAGE_COLUMNS = ["number", "state", "conversation", "attempts", "times parked", "version", "last failed", "error"];
const REPLAY_COLUMNS = ["replay", "state", "messages", "progress", "reason", ""];
const MAX_MESSAGES = 1000;
const ACTIVE = new Set(["running", "draining"]);

/** Dead letters: groups by cause, their messages, dry run and replay, discard and restore, and the progress of replays. */
export class Letters {
  #ids = [];
  #group = "";
  #state = "parked";
  #shown = 0;
  #discarded = [];

  constructor(root, store) {
    Object.assign(this, { root, store, groups: h("tbody"), messages: h("tbody"), replays: h("tbody") });
    $(".groups", root).append(createTable("Groups of dead letters", GROUP_COLUMNS, this.groups));
    $(".messages", root).append(createTable("Messages of the group", MESSAGE_COLUMNS, this.messages));
    $(".replays", root).append(createTable("Replays", REPLAY_COLUMNS, this.replays));
    this.letter = new Letter($(".letter", root), () => this.#loadGroup());
    this.states = ["parked", "discarded"].map((state) => bindLink($(`.states .${state}`, root), { section: "dead-letters", state: state === "parked" ? null : state, group: null, message: null }));
    $(".dry-run", root).addEventListener("click", () => this.#dryRun());
    $(".replay", root).addEventListener("click", () => this.#replay());
    $(".discard", root).addEventListener("click", () => this.#discard());
    $(".restore", root).addEventListener("click", () => this.#restore());
    $(".reload", root).addEventListener("click", () => this.#loadGroup());
    $("form", root).addEventListener("submit", (event) => event.preventDefault());
    // A plan holds for the options that it was made with.
    $("form", root).addEventListener("input", ({ target }) => target.name !== "reason" && this.#setPlan("", 0));
  }

  /** Show the group and the message that the address names. */
  async show({ group = "", message = "", state = "parked" }) {
    if (group !== this.#group || state !== this.#state) {
      this.#group = group;
      this.#state = state;
      this.states.forEach((link) => setAttributes(link, { "aria-current": link.classList.contains(state) && "true" }));
      await Promise.all([this.#loadGroup(), this.#loadDiscarded()]);
    }
    await this.letter.show(message);
  }

  render() {
    const parked = Object.values(this.store.section("failure_groups"));
    const groups = this.#state === "discarded" ? this.#discarded : parked;
    const none = $(".none", this.root);
    none.hidden = groups.length > 0;
    setText(none, `No message is ${this.#state}.`);
    renderList(this.groups, groups, (group) => `${this.#state} ${group.failure_group}`, createGroupRow, (row, group) => {
      setText(row.link, group.cause);
      row.classList.toggle("chosen", group.failure_group === this.#group);
      [group.queue, group.type, count(group.messages), time(group.newest), group.error].forEach((text, n) => setText(row.cells[n + 1], text));
    });
    this.#renderNews(parked.find((group) => group.failure_group === this.#group)?.messages ?? 0);
    const replays = Object.values(this.store.section("replays")).sort((a, b) => b.created_at.localeCompare(a.created_at));
    $(".replays", this.root).hidden = replays.length === 0;
    renderList(this.replays, replays, (replay) => replay.id, createReplayRow, (row, replay) => {
      const cells = [replay.id, replay.state, count(replay.messages), progress(replay), replayReason(replay)];
      cells.forEach((cell, n) => setText(row.cells[n], cell));
      row.cancel.hidden = !ACTIVE.has(replay.state);
    });
  }

  /** Buttons act on the messages that are shown, so those that have come since are named, and can be shown. */
  #renderNews(parked) {
    const isOther = this.#state === "parked" && this.#group !== "" && parked !== this.#ids.length && this.#shown < MAX_MESSAGES;
    $(".news", this.root).hidden = !isOther;
    if (isOther) setText($(".news span", this.root), `Now ${plural(parked, "message")} of this group ${parked === 1 ? "is" : "are"} parked; the buttons cover the ${count(this.#ids.length)} shown.`);
  }

  async #loadDiscarded() {
    if (this.#state !== "discarded") return;
    const { status, body } = await send("GET", "/v1/dead-letters/groups?in_state=discarded");
    this.#discarded = status === 200 ? body.groups : [];
    this.render();
  }

  async #loadGroup() {
    const panel = $(".group", this.root);
    panel.hidden = this.#group === "";
    this.#setPlan("", 0);
    if (!this.#group) return;
    const query = new URLSearchParams({ failure_group: this.#group, limit: MAX_MESSAGES });
    if (this.#state === "discarded") query.set("in_state", "discarded");
    const { status, body } = await send("GET", `/v1/dead-letters?${query}`);
    const letters = status === 200 ? body.dead_letters : [];
    this.#shown = letters.length;
    this.#ids = letters.filter((letter) => letter.state === this.#state).map((letter) => letter.id);
    const shown = body.next ? `the newest ${plural(letters.length, "message")}; older ones of the group are not covered` : plural(letters.length, "message");
    setText($(".count", panel), status === 200 ? `${shown}, ${count(this.#ids.length)} of them ${this.#state}` : body.detail);
    const isParked = this.#state === "parked";
    for (const selector of [".dry-run", ".replay", ".discard"]) $(selector, panel).hidden = !isParked;
    $(".restore", panel).hidden = isParked;
    const covered = plural(this.#ids.length, "message");
    for (const [selector, verb] of [[".discard", "Discard"], [".restore", "Restore"]]) setText($(selector, panel), `${verb} ${covered}`);
    for (const selector of [".dry-run", ".discard", ".restore"]) setAttributes($(selector, panel), { disabled: this.#ids.length === 0 });
    renderList(this.messages, letters, (letter) => letter.id, createMessageRow, (row, letter) => {
      const { state, conversation_id, attempts, times_parked, version, last_failed_at, error } = letter;
      const cells = [state, conversation_id, count(attempts), count(times_parked), version ? `edited, ${version}` : "as received", time(last_failed_at), error];
      cells.forEach((text, n) => setText(row.cells[n + 1], text));
    });
    this.render();
  }

  async #dryRun() {
    const { status, body } = await this.#request(true);
    if (status !== 200) return this.#setPlan(body.detail, 0);
    const left = body.ineligible.map(({ reason, messages, ids }) => `${count(messages)} not (${ids.slice(0, 5).join(", ")}${ids.length > 5 ? ", …" : ""}): ${reason}`);
    const batches = body.messages && !this.#rate() ? ` in batches of ${body.batches.join(", ")}` : "";
    const beyond = body.beyond_retention ? [`${count(body.beyond_retention)} may take effect a second time`] : [];
    this.#setPlan([`${count(body.messages)} would be sent${batches}`, ...beyond, ...left].join("; "), body.messages);
  }

  async #replay() {
    const { status, body } = await this.#request(false);
    this.#setPlan(status === 202 ? `replay ${body.id} has started; its progress follows below` : body.detail, 0);
  }

  async #discard() {
    const reason = $("[name=reason]", this.root);
    if (!reason.value.trim()) {
      reason.focus();
      return this.#setPlan("give a reason for the discard; it is kept with each message", 0);
    }
    const { status, body } = await send("POST", "/v1/discards", { selection: { ids: this.#ids }, reason: reason.value.trim() });
    await this.#loadGroup();
    this.#setPlan(status === 200 ? `${plural(body.ids.length, "message")} discarded; they are kept, and can be restored` : body.detail, 0);
  }

  async #restore() {
    const { status, body } = await send("POST", "/v1/restores", { selection: { ids: this.#ids } });
    await Promise.all([this.#loadGroup(), this.#loadDiscarded()]);
    this.#setPlan(status === 200 ? `${plural(body.ids.length, "message")} parked again` : body.detail, 0);
  }

  #rate() {
    return Number($("[name=rate]", this.root).value);
  }

  /** Ask for a replay of exactly the messages that are shown. */
  #request(dry_run) {
    const options = Object.fromEntries(["keep_going", "force"].map((name) => [name, $(`[name=${name}]`, this.root).checked]));
    return send("POST", "/v1/replays", { selection: { ids: this.#ids }, dry_run, ...options, ...(this.#rate() ? { rate_per_s: this.#rate() } : {}) });
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

function createReplayRow({ id }) {
  const row = createRow(REPLAY_COLUMNS.length)();
  const cancel = h("button", { type: "button", click: () => send("DELETE", `/v1/replays/${id}`) }, `Cancel ${id}`);
  row.lastChild.append(cancel);
  return Object.assign(row, { cancel });
}

function progress({ counts }) {
  const states = Object.entries(counts).filter(([, messages]) => messages);
  return states.map(([state, messages]) => `${count(messages)} ${state.replaceAll("_", " ")}`).join(", ");
}

function replayReason({ reason, refused, ineligible }) {
  return [reason, ...[...refused, ...ineligible].map((each) => `${count(each.messages)}: ${each.reason}`)].filter(Boolean).join("; ");
}

const time = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
