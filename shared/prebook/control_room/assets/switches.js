import { couplingIn, createCouplingField, FLOWS } from "./couplings.js";
import { $, setAttributes, setText } from "./dom.js";
import { plural } from "./format.js";
import { outcomes } from "./header.js";
import { send } from "./live.js";

/** The default plan: one switch for each flow. A choice takes effect with the button, and is shown once the suite tells it. */
export class Switches {
  constructor(root, store) {
    Object.assign(this, { root, store, fields: FLOWS.map((flow) => createCouplingField(flow, "switch")) });
    $(".flows", root).append(...this.fields.map(({ field }) => field));
    root.addEventListener("change", () => this.#renderButtons());
    root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#change(this.#chosen());
    });
    $(".configured", root).addEventListener("click", () => this.#change(Object.fromEntries(FLOWS.map((flow) => [flow, null]))));
  }

  render() {
    const plan = this.store.section("default_plan");
    for (const { flow, select, note } of this.fields) {
      const known = plan[flow];
      if (!known) continue;
      // A choice that is not sent yet stays; what nobody has touched follows the suite.
      if (select.value === select.shown || !select.shown) select.value = known.coupling;
      select.shown = known.coupling;
      setText(note, this.#describe(flow, known));
    }
    this.#renderButtons();
  }

  #describe(flow, { coupling, configured, changed_at }) {
    const ledger = this.store.section("ledger");
    const others = Object.keys(ledger).filter((label) => couplingIn(label, flow) !== coupling);
    const kept = others.reduce((sum, label) => sum + outcomes(ledger, label)["in flight"], 0);
    const parts = [
      changed_at ? `since ${changed_at.slice(11, 19)}, configured ${configured}` : "as configured",
      kept ? `${plural(kept, "ride")} in flight by another` : "",
    ];
    return parts.filter(Boolean).join("; ");
  }

  #chosen() {
    return Object.fromEntries(this.fields.filter(({ select }) => select.shown && select.value !== select.shown).map(({ flow, select }) => [flow, select.value]));
  }

  #renderButtons() {
    const chosen = Object.entries(this.#chosen());
    const button = $("[type=submit]", this.root);
    const text = chosen.map(([flow, coupling]) => `${flow} to ${coupling}`).join(", ");
    setText(button, text ? `Switch ${text}` : "Switch");
    setAttributes(button, { disabled: chosen.length === 0 });
    const isChanged = Object.values(this.store.section("default_plan")).some(({ changed_at }) => changed_at);
    setAttributes($(".configured", this.root), { disabled: !isChanged });
  }

  async #change(couplings) {
    const result = $(".result", this.root);
    const { status, body } = await send("PATCH", "/v1/default-plan", { couplings });
    if (status !== 200) return setText(result, `not changed: ${body.detail ?? status}`);
    for (const { flow, select } of this.fields) select.value = select.shown = body.flows[flow].coupling;
    const text = Object.keys(couplings).map((flow) => `${flow} by ${body.flows[flow].coupling}`).join(", ");
    setText(result, `New rides: ${text}. Rides that have begun keep their plan.`);
    this.#renderButtons();
  }
}
