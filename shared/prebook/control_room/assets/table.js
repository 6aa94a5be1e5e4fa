import { h } from "./dom.js";

/** A table that scrolls by itself, also by keyboard. */
export function createTable(caption, columns, rows) {
  const head = h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name))));
  const table = h("table", {}, h("caption", {}, caption), head, rows);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
}

/** Return a function that creates an empty row, whose first cell is its heading. */
export const createRow = (columns) => () => {
  const cells = Array.from({ length: columns }, (_, n) => h(n ? "td" : "th", n ? {} : { scope: "row" }));
  return h("tr", {}, cells);
};
