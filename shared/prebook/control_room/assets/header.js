import { $, h, renderList, setText } from "./dom.js";
import { count, rate, seconds } from "./format.js";

const STALE_AFTER_S = 3;
const STATES = {
  requested: "in flight",
  priced: "in flight",
  matched: "in flight",
  confirmed: "confirmed",
  rejected: "rejected",
  cancelled: "cancelled",
  expired: "expired",
  failed: "failed",
};
const OUTCOMES = ["confirmed", "rejected", "cancelled", "expired", "failed", "in flight"];
const TITLES = {
  confirmed: "a driver is booked",
  rejected: "the business decided: no fare, or no fleet has a driver",
  cancelled: "the rider cancelled a confirmed ride, or one under way",
  expired: "a deadline passed without a reply",
  failed: "the system failed the rider",
  "in flight": "accepted, without an outcome yet",
};
const CONNECTION_TEXT = {
  connecting: "",
  live: "The figures are live.",
  stale: "The stream is silent: the figures are those of the last event.",
  ended: "This browser's session has ended. Open the URL that prebook url prints.",
};

/** Bookings by outcome: of one plan, or of all. `total` is the number of bookings. */
export function outcomes(ledger, plan = null) {
  const result = Object.fromEntries(OUTCOMES.map((name) => [name, 0]));
  for (const [name, states] of Object.entries(ledger)) {
    if (plan !== null && name !== plan) continue;
    for (const [state, bookings] of Object.entries(states)) result[STATES[state]] += bookings;
  }
  return { ...result, total: Object.values(result).reduce((sum, bookings) => sum + bookings, 0) };
}

const settledBookings = (sections) => {
  const all = outcomes(sections.ledger ?? {});
  return all.total - all["in flight"];
};

/** State of the suite, bookings by outcome, and the connection. */
export class Header {
  constructor(root, store) {
    Object.assign(this, { root, store, ended: false });
    this.terms = $(".outcomes", root);
    this.offered = $(".rates", root);
  }

  render() {
    const processes = this.store.section("processes");
    const away = Object.keys(processes).filter((name) => processes[name].state !== "up");
    const failures = Object.entries(this.store.section("sources")).filter(([, reason]) => reason);
    const known = Object.keys(processes).length;
    const text =
      known === 0
        ? "no figures yet"
        : away.length > 0
        ? `${away.join(", ")} ${away.length > 1 ? "do" : "does"} not answer`
        : `${known} processes up`;
    const state = $(".state", this.root);
    setText($("span", state), text);
    state.classList.toggle("bad", away.length > 0);
    setText($(".failures", this.root), failures.map(([name, reason]) => `${name}: ${reason}`).join("; "));
    const all = outcomes(this.store.section("ledger"));
    renderList(this.terms, ["total", ...OUTCOMES], (name) => name, createTerm, (term, name) => {
      setText(term.value, count(all[name]));
      term.classList.toggle("none", all[name] === 0);
    });
    const rates = [
      ["accepted", this.store.rate((sections) => outcomes(sections.ledger ?? {}).total)],
      ["settled", this.store.rate(settledBookings)],
    ];
    renderList(this.offered, rates, ([name]) => name, ([name]) => createRate(name), (item, [, value]) => setText(item.value, rate(value)));
  }

  /** Called twice a second, so that silence is noticed. */
  renderConnection() {
    const { store } = this;
    const silence = store.silence();
    const isStale = store.sections !== null && silence > STALE_AFTER_S;
    const name = this.ended ? "ended" : store.sections === null ? "connecting" : isStale ? "stale" : "live";
    const connection = $("#connection", this.root);
    document.documentElement.classList.toggle("stale", isStale || this.ended);
    connection.classList.toggle("bad", name !== "live");
    setText($("b", connection), name);
    setText($(".since", connection), name === "stale" ? `for ${seconds(silence)}` : "");
    setText($("#connection-status"), CONNECTION_TEXT[name]);
  }
}

function createTerm(name) {
  const value = h("b");
  const label = name === "total" ? "bookings" : name;
  return Object.assign(h("div", { class: name.replace(" ", "-"), title: TITLES[name] }, value, h("span", {}, label)), { value });
}

function createRate(name) {
  const value = h("b");
  return Object.assign(h("div", {}, value, h("span", {}, name)), { value });
}
