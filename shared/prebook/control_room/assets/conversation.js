import { $, h, renderList, setAttributes, setText } from "./dom.js";
import { milliseconds } from "./format.js";
import { send } from "./live.js";
import { bindLink, href, refreshLinks } from "./route.js";
import { describe, drawSequence, instant } from "./sequence.js";
import { createRow, createTable } from "./table.js";

const REFRESH_MS = 1000;
const MAX_REFRESHES = 120;
const MESSAGE_COLUMNS = ["", "message", "from", "to", "coupling", "at", "outbox", "queue", "processing", "state", "attempts"];
const PLAN_COLUMNS = ["", "settled p50 / p99", "rider notified p50 / p99", "bookings settled"];
const MIN_WIDTH = 720;

/** One ride: found by booking id, Idempotency-Key or message id; drawn as a sequence, and listed as a table. */
export class Conversation {
  #reference = null;
  #timeline = null;
  #route = {};
  #refreshes = 0;

  constructor(root) {
    this.root = root;
    this.input = $("input", root);
    this.stage = $(".sequence", root);
    this.rows = h("tbody");
    this.plans = h("tbody");
    $(".messages", root).append(createTable("Messages of the ride", MESSAGE_COLUMNS, this.rows));
    $(".plans", root).append(createTable("This ride and all plans, over the last 10 minutes", PLAN_COLUMNS, this.plans));
    $("form", root).addEventListener("submit", (event) => {
      event.preventDefault();
      const ride = this.input.value.trim();
      location.hash = href({ section: "conversation", ride: ride || null, number: null });
      if (ride === this.#reference) this.#load(ride);
    });
    this.stage.addEventListener("click", () => this.stage.focus({ preventScroll: true }));
    this.stage.addEventListener("keydown", (event) => this.#step(event));
    new ResizeObserver(() => this.#draw()).observe(this.stage);
  }

  /** Show the ride and message that the address names. */
  show(route) {
    this.#route = route;
    const reference = route.ride ?? null;
    if (reference === this.#reference) return this.#select();
    this.#reference = reference;
    this.#timeline = null;
    this.#refreshes = 0;
    this.input.value = reference ?? "";
    this.#render();
    if (reference !== null) this.#load(reference);
  }

  async #load(reference) {
    const { status, body } = await send("GET", `/v1/conversations/${encodeURIComponent(reference)}`);
    if (reference !== this.#reference) return;
    if (status !== 200) {
      setText($(".status", this.root), body.detail ?? `refused with ${status}`);
      return;
    }
    this.#timeline = body;
    this.#render();
    if (body.notified_at === null && this.#refreshes++ < MAX_REFRESHES) setTimeout(() => reference === this.#reference && this.#load(reference), REFRESH_MS);
  }

  #render() {
    const timeline = this.#timeline;
    $(".found", this.root).hidden = timeline === null;
    setText($(".status", this.root), timeline ? summary(timeline) : this.#reference ? "looking for it…" : "");
    if (timeline === null) return;
    renderList(this.rows, timeline.messages, ({ number }) => `${timeline.id} ${number}`, createMessageRow, (row, message) => fillMessageRow(row, message, timeline));
    const compared = [{ label: "this ride", ride: timeline }, ...timeline.plans.map((plan) => ({ label: labelOf(plan.couplings), plan }))];
    renderList(this.plans, compared, ({ label }) => label, createPlanRow, fillPlanRow);
    this.#showLogs(timeline);
    this.#select();
    refreshLinks();
  }

  #showLogs({ id, trace_ids, related, missing }) {
    const lines = [`Log lines of this ride have conversation_id ${id}${trace_ids.length ? ` and trace_id ${trace_ids.join(", ")}` : ""}.`];
    for (const [process, reason] of Object.entries(missing)) lines.push(`Incomplete: ${process} did not answer (${reason}).`);
    setText($(".logs", this.root), lines.join(" "));
    const links = related.map((ride) => h("a", { href: href({ section: "conversation", ride, number: null }) }, ride));
    $(".related", this.root).replaceChildren(...(links.length ? ["Belongs together with ", ...links.flatMap((link, n) => (n ? [", ", link] : [link]))] : []));
  }

  get #selected() {
    return Number(this.#route.number) || null;
  }

  #select() {
    const selected = this.#selected;
    const message = this.#timeline?.messages.find(({ number }) => number === selected);
    setText($(".inspector", this.root), message ? `${message.number}. ${describe(message)}` : "");
    for (const row of this.rows.children) row.classList.toggle("chosen", row.number === selected);
    this.#draw();
  }

  #draw() {
    const width = Math.max(this.stage.clientWidth, MIN_WIDTH);
    this.stage.replaceChildren(...(this.#timeline && this.stage.clientWidth ? [drawSequence(this.#timeline, width, this.#selected)] : []));
  }

  /** Left and right go from message to message, without an entry in the history for each. */
  #step(event) {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction || !this.#timeline?.messages.length) return;
    event.preventDefault();
    const last = this.#timeline.messages.length;
    const message = Math.min(last, Math.max(1, (this.#selected ?? (direction > 0 ? 0 : last + 1)) + direction));
    history.replaceState(null, "", href({ section: "conversation", number: message }));
    this.show({ ...this.#route, number: String(message) });
    refreshLinks();
    $(".selected", this.stage)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function summary({ id, state, reason, plan, requested_at, settled_at, notified_at }) {
  const start = instant(requested_at);
  const after = (at) => (at === null ? "not yet" : `after ${milliseconds(instant(at) - start)}`);
  return `${id}: ${state}${reason ? ` (${reason})` : ""}, plan ${plan}; settled ${after(settled_at)}, rider notified ${after(notified_at)}`;
}

const createMessageCells = createRow(MESSAGE_COLUMNS.length);

function createMessageRow({ number }) {
  const row = Object.assign(createMessageCells(), { number });
  row.cells[0].append(bindLink(h("a", {}, number), { section: "conversation", number }));
  return row;
}

function fillMessageRow(row, message, timeline) {
  const start = instant(timeline.requested_at);
  const span = (value) => (value === null ? "–" : `${message.is_measured ? "" : "~"}${milliseconds(value * 1000)}`);
  const failures = message.attempts.map(({ stage, detail }) => `${stage.replace("_", " ")}${detail ? `: ${detail}` : ""}`);
  const values = [
    [message.name, message.key, message.kind].filter(Boolean).join(" "),
    message.sender,
    message.receiver ?? "any subscriber",
    message.coupling,
    message.created_at === null ? "–" : `+${milliseconds(instant(message.created_at) - start)}`,
    span(message.outbox_s),
    span(message.queue_s),
    span(message.processing_s),
    message.is_timeout ? "timed out" : message.state.replace("_", " "),
    [message.attempt, ...failures].join("; "),
  ];
  values.forEach((value, n) => setText(row.cells[n + 1], value));
  setAttributes(row, { class: message.kind === "event" ? "facts" : message.coupling });
}

const createPlanRow = createRow(PLAN_COLUMNS.length);

function fillPlanRow(row, { label, plan, ride }) {
  setText(row.cells[0], label);
  const quantiles = ({ count, p50_ms, p99_ms }) => (count ? `${milliseconds(p50_ms)} / ${milliseconds(p99_ms)}` : "–");
  const after = (at) => (at === null ? "–" : milliseconds(instant(at) - instant(ride.requested_at)));
  const values = ride ? [after(ride.settled_at), after(ride.notified_at), "–"] : [quantiles(plan.settled), quantiles(plan.notified), plan.settled.count];
  values.forEach((value, n) => setText(row.cells[n + 1], value));
}

/** The coupling of a uniform plan, or the couplings of all flows. */
function labelOf(couplings) {
  const values = new Set(Object.values(couplings));
  return values.size === 1 ? [...values][0] : Object.entries(couplings).sort().map(([flow, coupling]) => `${flow}=${coupling}`).join(", ");
}
