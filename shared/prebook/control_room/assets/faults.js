import { $, h, renderList, setAttributes, setText } from "./dom.js";
import { send } from "./live.js";
import { createRow, createTable } from "./table.js";

const RUN_COLUMNS = ["fault", "state", "from", "until", "evidence"];
const STATES = {
  ordered: "ordered; no evidence yet",
  undone: "took effect, and is undone",
  no_effect: "no effect",
  failed: "could not be injected",
};

/** Faults of the catalogue: what to expect, arm, inject, and the evidence. */
export class Faults {
  constructor(root, store) {
    Object.assign(this, { root, store, runs: h("tbody"), entries: [] });
    $(".runs", root).append(createTable("Injections", RUN_COLUMNS, this.runs));
    $("[name=fault]", root).addEventListener("change", () => this.#choose());
    $(".load", root).addEventListener("click", () => this.#load());
    $(".arm", root).addEventListener("click", () => this.#arm());
    $("form", root).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#inject();
    });
  }

  render() {
    const runs = Object.values(this.store.section("faults")).reverse();
    $(".runs", this.root).hidden = runs.length === 0;
    renderList(this.runs, runs, (run) => run.id, createRow(RUN_COLUMNS.length), (row, run) => {
      row.classList.toggle("bad", run.state === "no_effect" || run.state === "failed");
      const times = [run.started_at, run.ended_at].map((at) => (at ? at.slice(11, 19) : "–"));
      [run.name, STATES[run.state], ...times, run.evidence].forEach((text, n) => setText(row.cells[n], text));
    });
  }

  /** The catalogue is read on demand: to find out what can be injected here, the console tries the means. */
  async #load() {
    setText($(".verdict", this.root), "reading the catalogue…");
    const { status, body } = await send("GET", "/v1/faults");
    if (status !== 200) return setText($(".verdict", this.root), body.detail);
    this.entries = body;
    $("[name=fault]", this.root).replaceChildren(...body.map((entry) => h("option", {}, entry.name)));
    $("form", this.root).hidden = false;
    $(".load", this.root).hidden = true;
    setText($(".verdict", this.root), "");
    this.#choose();
  }

  #chosen() {
    return this.entries.find((entry) => entry.name === $("[name=fault]", this.root).value);
  }

  #choose() {
    const entry = this.#chosen();
    setText($(".expectation", this.root), entry.expectation);
    setText($(".verdict", this.root), entry.unavailable_reason ? `not here: ${entry.unavailable_reason}` : "");
    setAttributes($("[name=duration_s]", this.root), { placeholder: entry.default_duration_s });
    setAttributes($(".arm", this.root), { disabled: entry.unavailable_reason !== "" });
    this.#disarm();
  }

  async #arm() {
    const entry = this.#chosen();
    const { status, body } = await send("POST", `/v1/faults/${entry.name}/arm`, {});
    if (status !== 200) return setText($(".verdict", this.root), body.detail);
    setText($(".verdict", this.root), `${entry.name} is armed for ${body.armed_s} s`);
    setAttributes($(".inject", this.root), { disabled: false });
    clearTimeout(this.disarming);
    this.disarming = setTimeout(() => {
      this.#disarm();
      setText($(".verdict", this.root), `${entry.name} is no longer armed`);
    }, body.armed_s * 1000);
  }

  async #inject() {
    const entry = this.#chosen();
    const duration_s = Number($("[name=duration_s]", this.root).value) || null;
    this.#disarm();
    const { status, body } = await send("POST", `/v1/faults/${entry.name}/injections`, { duration_s });
    setText($(".verdict", this.root), status === 202 ? `${entry.name} is ordered; its evidence follows below` : body.detail);
  }

  #disarm() {
    clearTimeout(this.disarming);
    setAttributes($(".inject", this.root), { disabled: true });
  }
}
