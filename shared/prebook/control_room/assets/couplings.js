import { h } from "./dom.js";

/** Flows and couplings of the catalogue, and the plans that they make. */
export const FLOWS = ["quote_fare", "find_driver", "ask_fleet", "notify_rider"];
export const COUPLINGS = ["sync_api", "async_api", "one_way", "request_reply"];

/** A field with the coupling of one flow; `prefix` keeps ids of several forms apart. */
export function createCouplingField(flow, prefix) {
  const id = `${prefix}-${flow}`;
  const select = h("select", { id, name: flow }, COUPLINGS.map((coupling) => h("option", {}, coupling)));
  const note = h("small");
  return { flow, select, note, field: h("div", { class: "field" }, h("label", { for: id }, flow), select, note) };
}

/** Coupling of a flow in a plan, by the plan's label: `one_way`, or `ask_fleet=one_way, find_driver=…`. */
export function couplingIn(label, flow) {
  if (!label.includes("=")) return label;
  return label.split(", ").find((part) => part.startsWith(`${flow}=`))?.slice(flow.length + 1);
}
