import { h, renderList, s, setAttributes, setText } from "./dom.js";
import { plural } from "./format.js";

const BIN_WIDTH = 5;
const HEIGHT = 24;
const MS_PER_S = 1000;

/** The last minutes of one plan: bookings and failures by bin, and the windows of faults, shaded. */
export function createChart() {
  const [windows, bookings, failures] = [s("g", { class: "windows" }), s("path", { class: "bookings" }), s("path", { class: "failures" })];
  const drawing = s("svg", { class: "timeline", preserveAspectRatio: "none", role: "img" }, windows, bookings, failures);
  const names = h("small");
  return { cell: h("td", { class: "chart" }, drawing, names), drawing, windows, bookings, failures, names };
}

export function updateChart(chart, { plans = {}, bin_s = 1, from_s = 0 }, plan, faults) {
  const bins = plans[plan] ?? [];
  const width = bins.length * BIN_WIDTH;
  const most = Math.max(1, ...bins.map((bin) => (bin ? Math.max(bin[0], bin[2]) : 0)));
  const bars = (figure) => bins.map((bin, n) => (bin?.[figure] ? `M${n * BIN_WIDTH} ${HEIGHT}v${-(bin[figure] / most) * HEIGHT}h${BIN_WIDTH - 1}V${HEIGHT}z` : "")).join("");
  const shown = shownFaults(faults, from_s, from_s + bins.length * bin_s);
  const place = (at_s) => ((at_s - from_s) / bin_s) * BIN_WIDTH;
  setAttributes(chart.drawing, { viewBox: `0 0 ${Math.max(1, width)} ${HEIGHT}`, "aria-label": describe(bins, bin_s, shown) });
  setAttributes(chart.bookings, { d: bars(0) });
  setAttributes(chart.failures, { d: bars(2) });
  renderList(chart.windows, shown, (fault) => fault.id, () => s("rect", { y: 0, height: HEIGHT }), (rect, { began_s, ended_s, name }) => {
    setAttributes(rect, { x: place(began_s), width: Math.max(1, place(ended_s) - place(began_s)), "data-fault": name });
  });
  setText(chart.names, shown.map(({ name }) => `${name} shaded`).join(", "));
}

/** Faults whose effect is proven, cut to the chart's time: what is only ordered is not shown as a fault. */
function shownFaults(faults, from_s, until_s) {
  return faults
    .filter(({ state, started_at, ended_at }) => state === "undone" && started_at && ended_at)
    .map(({ id, name, started_at, ended_at }) => ({ id, name, began_s: Math.max(from_s, Date.parse(started_at) / MS_PER_S), ended_s: Math.min(until_s, Date.parse(ended_at) / MS_PER_S) }))
    .filter(({ began_s, ended_s }) => ended_s > began_s);
}

function describe(bins, bin_s, shown) {
  const known = bins.filter(Boolean);
  const sum = (figure) => known.reduce((total, bin) => total + bin[figure], 0);
  const during = shown.length ? `; faults in this time: ${shown.map(({ name }) => name).join(", ")}` : "";
  return `${plural(sum(0), "booking")}, ${sum(1)} answered and ${sum(2)} failed or expired in ${known.length * bin_s} s${during}`;
}
