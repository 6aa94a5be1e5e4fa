import { $, h, renderList, setText } from "./dom.js";
import { count, percent, rate, seconds } from "./format.js";
import { createRow, createTable } from "./table.js";

const COLUMNS = ["process", "state", "outbox rows", "oldest row", "abandoned rows", "event loop lag"];
const CIRCUIT_COLUMNS = ["circuit", "state", "paused messages"];
const LOAD_COLUMNS = ["admission limit", "used"];
const DECISION_COLUMNS = ["decision", "rate", "total"];

/** Outbox and relay of each process, circuits, and booking's admission control. */
export class Processes {
  constructor(root, store) {
    this.store = store;
    const [processes, circuits, loads, decisions] = Array.from({ length: 4 }, () => h("tbody"));
    Object.assign(this, { processes, circuits, loads, decisions });
    $(".processes", root).append(
      createTable("Processes, with outbox and relay", COLUMNS, processes),
      h("div", {}, createTable("Open circuits", CIRCUIT_COLUMNS, circuits), (this.circuitCount = h("p"))),
      createTable("Admission limits", LOAD_COLUMNS, loads),
      createTable("Admission decisions", DECISION_COLUMNS, decisions),
    );
  }

  render() {
    const { store } = this;
    const processes = Object.entries(store.section("processes"));
    renderList(this.processes, processes, ([name]) => name, createRow(COLUMNS.length), (row, [name, figures]) => {
      row.classList.toggle("bad", figures.state !== "up");
      const isUp = figures.state === "up";
      const cells = isUp
        ? [count(figures.outbox), seconds(figures.outbox_oldest_s), count(figures.abandoned), seconds(figures.loop_lag_s)]
        : ["–", "–", "–", "–"];
      fill(row, [name, isUp ? "up" : "does not answer", ...cells]);
    });
    const consumers = Object.entries(store.section("circuits")).map(([name, { open, paused }]) => [name.replace("/", " consuming "), open, count(paused)]);
    const providers = Object.entries(store.section("breakers")).map(([name, open]) => [name.replace("/", " calling "), open, "–"]);
    const all = [...consumers, ...providers];
    const open = all.filter(([, isOpen]) => isOpen);
    setText(this.circuitCount, `${count(open.length)} of ${count(all.length)} circuits of consumers and providers are open.`);
    renderList(this.circuits, open, ([name]) => name, createRow(CIRCUIT_COLUMNS.length), (row, [name, , paused]) => {
      row.classList.add("bad");
      fill(row, [name, "open", paused]);
    });
    const { loads = {}, decisions = {} } = store.section("admission");
    renderList(this.loads, Object.entries(loads), ([name]) => name, createRow(LOAD_COLUMNS.length), (row, [name, ratio]) => {
      row.classList.toggle("bad", ratio >= 1);
      fill(row, [name, `${percent(ratio)}${ratio >= 1 ? ", refuses" : ""}`]);
    });
    renderList(this.decisions, Object.entries(decisions), ([name]) => name, createRow(DECISION_COLUMNS.length), (row, [name, total]) => {
      fill(row, [name, rate(store.rate((sections) => sections.admission?.decisions?.[name])), count(total)]);
    });
  }
}

const fill = (row, cells) => cells.forEach((text, n) => setText(row.cells[n], text));
