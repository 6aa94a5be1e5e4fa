import { $, h, renderList, s, setAttributes, setText } from "./dom.js";
import { count, milliseconds, percent, plural, rate, seconds } from "./format.js";
import { send } from "./live.js";

const LINKS = ["queue", "relay", "outbox", "admission", "rider"];
const TITLES = {
  queue: "requests that wait for a provider",
  relay: "the broker takes no messages",
  outbox: "rows that wait for the relay",
  admission: "riders who are being served",
  rider: "riders who are refused",
};
const BAR_WIDTH = 100;

/** An open-loop load: started, changed and stopped here, and the chain of back pressure that it fills. */
export class Load {
  constructor(root, store) {
    Object.assign(this, { root, store, form: $("form", root), chain: $(".chain", root), result: $(".result", root) });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.form.addEventListener("change", () => (this.isEdited = true));
    $(".stop", root).addEventListener("click", () => this.#stop());
    $(".back-pressure", root).addEventListener("click", () => this.#switchBackPressure());
  }

  render() {
    const { phase = "idle", settings, progress, error } = this.store.section("load");
    const isRunning = phase === "running";
    if (settings && !this.isEdited) this.#fill(settings);
    setText($("[type=submit]", this.root), isRunning ? "Change" : "Start");
    setAttributes($(".stop", this.root), { disabled: !isRunning });
    setText($(".progress", this.root), settings ? describe(phase, settings, progress, error) : "No load.");
    const { enabled, changed_at } = this.store.section("back_pressure");
    const button = $(".back-pressure", this.root);
    setAttributes(button, { "aria-checked": enabled === undefined ? null : String(enabled), disabled: enabled === undefined });
    setText(button, `Back pressure is ${enabled === undefined ? "not known" : enabled ? "on" : "off"}`);
    setAttributes(button, { title: changed_at ? `switched at ${changed_at.slice(11, 19)} UTC` : "as configured" });
    this.#renderChain(enabled);
  }

  #renderChain(enabled) {
    const { links, limiting } = this.store.section("chain");
    if (!links) return;
    renderList(this.chain, LINKS, (link) => link, createLink, (item, link) => {
      const ratio = links[link]?.ratio ?? 0;
      setText(item.figure, link === "rider" ? `${rate(this.#refusedRate())} refused` : `${percent(ratio)} of its limit`);
      setText(item.detail, this.#detail(link, links[link]?.load));
      setText(item.flag, link === limiting ? (ratio >= 1 ? "limits" : "nearest to its limit") : "");
      setAttributes(item.bar, { width: Math.min(1, ratio) * BAR_WIDTH });
      item.classList.toggle("limits", link === limiting);
    });
    const refusing = enabled ? "rides that need it are refused" : "back pressure is off, so nobody is refused";
    const text = limiting
      ? `The ${limiting} ${links[limiting].ratio >= 1 ? `limits: ${refusing}.` : "is nearest to its limit; nobody is refused for it."}`
      : "Nothing limits.";
    setText($(".limiting", this.root), text);
  }

  #detail(link, load = "") {
    const { outbox = 0, outbox_oldest_s = 0 } = this.store.section("processes").booking ?? {};
    const { pending = {}, decisions = {} } = this.store.section("admission");
    if (link === "queue") {
      const waiting = Object.values(pending).reduce((sum, requests) => sum + requests, 0);
      return `${plural(waiting, "request")} pending${load ? `; fullest: ${load.replace("_by_", " by ")}` : ""}`;
    }
    if (link === "outbox") return `${plural(outbox, "row")}, the oldest ${seconds(outbox_oldest_s)}`;
    if (link === "rider") return `${count(refusals(decisions))} refused in all`;
    return load.replaceAll("_", " ");
  }

  #refusedRate() {
    return this.store.rate((sections) => refusals(sections.admission?.decisions ?? {}));
  }

  #fill(settings) {
    const { elements } = this.form;
    for (const name of ["rate_per_s", "shape", "factor", "period_s", "seed"]) elements[name].value = settings[name];
    for (const box of this.form.querySelectorAll("[name=plans]")) box.checked = settings.plans.includes(box.value);
  }

  async #start() {
    const { elements } = this.form;
    const plans = [...this.form.querySelectorAll("[name=plans]:checked")].map((box) => box.value);
    if (plans.length === 0) return setText(this.result, "choose at least one plan");
    const numbers = Object.fromEntries(["rate_per_s", "factor", "period_s", "seed"].map((name) => [name, Number(elements[name].value)]));
    this.#show(await send("PUT", "/v1/load", { ...numbers, shape: elements.shape.value, plans }), "rides are offered by these settings from now on");
  }

  async #stop() {
    this.#show(await send("DELETE", "/v1/load"), "no more rides are offered; those under way go on");
  }

  async #switchBackPressure() {
    const { enabled } = this.store.section("back_pressure");
    const response = await send("PUT", "/v1/back-pressure", { enabled: !enabled });
    this.#show(response, `back pressure is ${response.body.enabled ? "on" : "off"} for new rides`);
  }

  #show({ status, body }, text) {
    if (status === 200) this.isEdited = false;
    setText(this.result, status === 200 ? text : `not done: ${body.detail ?? status}`);
  }
}

const refusals = (decisions) => Object.entries(decisions).reduce((sum, [name, total]) => sum + (name === "admitted" ? 0 : total), 0);

function createLink(link) {
  const [figure, flag, detail] = [h("b"), h("em"), h("small")];
  const bar = s("rect", { height: 4, width: 0 });
  const drawing = s("svg", { viewBox: `0 0 ${BAR_WIDTH} 4`, preserveAspectRatio: "none", "aria-hidden": true }, bar);
  const item = h("li", { class: link }, h("span", {}, link, " ", flag), figure, drawing, h("small", {}, TITLES[link]), detail);
  return Object.assign(item, { figure, flag, detail, bar });
}

function describe(phase, settings, progress, error) {
  if (phase === "failed") return `The load failed: ${error}`;
  const { offered, accepted, returned, refused, failed, waiting, rate_per_s, response_p50_ms, response_p99_ms, lag_p99_ms } = progress;
  const now = { running: `${rate(rate_per_s)} offered now`, ending: "no more rides are offered", idle: "ended" }[phase];
  return (
    `${now}: ${plural(offered, "ride")} offered = ${count(accepted)} accepted (${count(returned)} after a refusal) + ${count(refused)} refused ` +
    `+ ${count(failed)} failed + ${count(waiting)} waiting. Response ${milliseconds(response_p50_ms)} / ${milliseconds(response_p99_ms)} ` +
    `(p50 / p99 of 10 s); the generator is ${milliseconds(lag_p99_ms)} late (p99). Seed ${settings.seed}.`
  );
}
