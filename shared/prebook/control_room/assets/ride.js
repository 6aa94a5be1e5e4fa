import { createCouplingField, FLOWS } from "./couplings.js";
import { $, setAttributes, setText } from "./dom.js";
import { milliseconds } from "./format.js";
import { send } from "./live.js";
import { bindLink } from "./route.js";

const PICKUP = { lat: 52.5, lon: 13.4 };
const DROPOFF = { lat: 52.54, lon: 13.42 };
const MS_PER_MINUTE = 60_000;
const MINUTES_PER_DAY = 1440;
const POLL_INTERVAL_MS = 300;
const MAX_POLLS = 100;

/** One ride, booked by hand with any plan, and its way to an outcome. */
export class Ride {
  constructor(root) {
    this.root = root;
    this.form = $("form", root);
    this.result = $(".result", root);
    this.trace = $(".trace", root);
    $("[name=plan]", root).addEventListener("change", () => this.#showFlows());
    this.selects = FLOWS.map((flow) => createCouplingField(flow, "field"));
    $(".flows", root).append(...this.selects.map(({ field }) => field));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#book();
    });
    this.#showFlows();
  }

  #showFlows() {
    $(".flows", this.root).hidden = this.form.elements.plan.value !== "custom";
  }

  #couplings() {
    const plan = this.form.elements.plan.value;
    if (plan === "default") return {};
    const chosen = ({ select }) => (plan === "custom" ? select.value : plan);
    return { couplings: Object.fromEntries(FLOWS.map((flow, n) => [flow, chosen(this.selects[n])])) };
  }

  async #book() {
    const button = $("button", this.form);
    setAttributes(button, { disabled: true });
    setText(this.result, "booking…");
    const started = performance.now();
    const { status, body } = await send("POST", "/v1/rides", { ...this.#request(), ...this.#couplings() });
    const tookMs = performance.now() - started;
    setAttributes(button, { disabled: false });
    if (status !== 201 && status !== 202) {
      setText(this.result, `refused with ${status}: ${body.detail ?? "no reason given"}`);
      return;
    }
    const response = `accepted with ${status} in ${milliseconds(tookMs)}`;
    setText(this.result, `${body.id}: ${response}; ${body.state}`);
    bindLink(this.trace, { section: "conversation", ride: body.id, number: null }).hidden = false;
    await this.#follow(body.id, response);
  }

  #request() {
    const minutes = MINUTES_PER_DAY + Math.floor(Math.random() * 6 * MINUTES_PER_DAY);
    return {
      rider_id: "control-room",
      pickup: PICKUP,
      dropoff: DROPOFF,
      pickup_at: new Date(Date.now() + minutes * MS_PER_MINUTE).toISOString(),
      vehicle_class: this.form.elements.vehicle_class.value,
      passengers: Number(this.form.elements.passengers.value),
    };
  }

  /** Show the booking until its rider is notified. */
  async #follow(id, response) {
    for (let poll = 0; poll < MAX_POLLS; poll++) {
      const { status, body } = await send("GET", `/v1/rides/${id}`);
      if (status === 200) setText(this.result, `${id}: ${response}; ${describe(body)}`);
      if (body.notified_at) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
    }
  }
}

function describe({ state, history, fare, driver, reason, notified_at }) {
  const start = Date.parse(history[0].at);
  const steps = history.slice(1).map((change) => `${change.state} after ${milliseconds(Date.parse(change.at) - start)}`);
  if (notified_at) steps.push(`rider notified after ${milliseconds(Date.parse(notified_at) - start)}`);
  const details = [
    fare && `${(fare.cents / 100).toFixed(2)} ${fare.currency}`,
    driver && `driver ${driver.id} of ${driver.fleet}`,
    reason,
  ].filter(Boolean);
  return [steps.join(", ") || state, ...details].join("; ");
}
