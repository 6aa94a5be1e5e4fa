import { $, h, renderList, s, setAttributes, setText } from "./dom.js";
import { count, milliseconds, percent } from "./format.js";
import { outcomes } from "./header.js";
import { createChart, updateChart } from "./timeline.js";

const CLOCKS = ["accepted", "settled", "notified"];
const COLUMNS = ["plan", ...CLOCKS, "answered", "bookings", "last 3 min"];
const ORDER = ["sync_api", "async_api", "one_way", "request_reply"];
const STRIP_WIDTH = 160;
const STRIP_HEIGHT = 14;
const DECADES = 5;

/** Plans side by side: three clocks, on one logarithmic axis from 1 ms to 100 s, and the share of answered bookings. */
export class Plans {
  constructor(root, store) {
    Object.assign(this, { root, store, rows: h("tbody") });
    const head = h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name)));
    const caption = h("caption", { class: "unseen" }, "Plans compared");
    $(".scroll", root).append(h("table", {}, caption, h("thead", {}, head), this.rows));
  }

  render() {
    const ledger = this.store.section("ledger");
    const plans = Object.keys(ledger).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
    $(".none", this.root).hidden = plans.length > 0;
    $(".scroll", this.root).hidden = plans.length === 0;
    renderList(this.rows, plans, (plan) => plan, createRow, (row, plan) => this.#update(row, plan, ledger));
  }

  #update(row, plan, ledger) {
    const clocks = this.store.section("clocks")[plan] ?? {};
    for (const { name, figures, strip } of row.clocks) {
      const clock = clocks[name];
      const isMeasured = clock?.count > 0;
      setText(figures, isMeasured ? `${milliseconds(clock.p50_ms)} / ${milliseconds(clock.p99_ms)}` : "nothing in the last 60 s");
      setAttributes(strip.p50, { d: isMeasured ? mark(clock.p50_ms) : "" });
      setAttributes(strip.p99, { d: isMeasured ? mark(clock.p99_ms) : "" });
    }
    const all = outcomes(ledger, plan);
    const answered = all.confirmed + all.rejected + all.cancelled;
    const settled = all.total - all["in flight"];
    setText(row.share, settled ? `${percent(answered / settled)} of ${count(settled)} settled` : "none settled");
    row.share.classList.toggle("bad", settled > 0 && answered < settled * 0.95);
    const parts = ["confirmed", "rejected", "cancelled", "expired", "failed", "in flight"].filter((name) => all[name]);
    setText(row.bookings, parts.map((name) => `${count(all[name])} ${name}`).join(", "));
    updateChart(row.chart, this.store.section("timeline"), plan, Object.values(this.store.section("faults")));
  }
}

function createRow(plan) {
  const isMixed = plan.includes("=");
  const clocks = CLOCKS.map((name) => {
    const figures = h("span");
    const strip = { p50: s("path", { class: "p50" }), p99: s("path", { class: "p99" }) };
    const axis = Array.from({ length: DECADES }, (_, n) => `M${(n * STRIP_WIDTH) / DECADES + 0.5} 0V${STRIP_HEIGHT}`).join("");
    const drawing = s(
      "svg",
      { class: "strip", viewBox: `0 0 ${STRIP_WIDTH} ${STRIP_HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": true },
      s("path", { class: "decades", d: axis }),
      strip.p99,
      strip.p50,
    );
    return { name, figures, strip, cell: h("td", { class: "clock" }, figures, drawing) };
  });
  const share = h("td");
  const bookings = h("td");
  const chart = createChart();
  const name = h("th", { scope: "row" }, isMixed ? h("span", { title: plan }, "mixed ", h("small", {}, plan)) : plan);
  return Object.assign(h("tr", { class: isMixed ? "mixed" : plan }, name, clocks.map(({ cell }) => cell), share, bookings, chart.cell), { clocks, share, bookings, chart });
}

const rank = (plan) => (ORDER.includes(plan) ? ORDER.indexOf(plan) : ORDER.length);
const place = (ms) => Math.min(1, Math.max(0, Math.log10(Math.max(1, ms)) / DECADES)) * STRIP_WIDTH;
const mark = (ms) => `M${place(ms).toFixed(1)} 0V${STRIP_HEIGHT}`;
