import { $, h, renderList, s, setAttributes, setText } from "./dom.js";
import { count, rate, seconds } from "./format.js";
import { bindLink } from "./route.js";
import { createRow, createTable } from "./table.js";

const VIEWS = ["default", "sync_api", "async_api", "one_way", "request_reply"];
const COLUMNS = ["flow or event", "coupling", "leg", "from", "to", "moved by", "rate", "total", "waiting", "oldest"];
const QUEUE_COLUMNS = ["queue", "consumer", "ready", "unacknowledged", "consumers", "oldest"];
const BELOW_ARROW = 20;
const BELOW_QUEUE = 26;
const HINT = "Move to an arrow with the arrow keys, or point at it: what it carries, and who decides when.";

/** The message flow of one plan: the drawing of the typed model with live rates, or the same graph as tables. */
export class Flow {
  #topologies = new Map();
  #drawn = null;
  #focused = "";
  #isLoading = false;

  constructor(root, store) {
    Object.assign(this, { root, store, drawings: $(".drawings", root), tables: $(".graph-tables", root) });
    const views = VIEWS.map((view) =>
      Object.assign(bindLink(h("a", { class: "choice" }, view), { section: "flow", plan: view === "default" ? null : view }), { view }),
    );
    this.links = views;
    $(".views", root).append(...views);
    this.tableLink = bindLink($(".as-table", root), () => ({ section: "flow", as: this.asTable ? null : "table" }));
    this.drawings.addEventListener("keydown", (event) => this.#moveFocus(event));
  }

  async show(route) {
    this.view = VIEWS.includes(route.plan) ? route.plan : "default";
    this.asTable = route.as === "table";
    for (const link of this.links) setAttributes(link, { "aria-current": link.view === this.view && "true" });
    setText(this.tableLink, this.asTable ? "Show as drawing" : "Show as table");
    this.drawings.hidden = this.asTable;
    this.tables.hidden = !this.asTable;
    if (!this.#topologies.has(this.view)) await this.#load(this.view);
    this.render();
  }

  async #load(view) {
    const response = await fetch(`/v1/topology/${view}`);
    if (response.ok) this.#topologies.set(view, await response.json());
  }

  /** Draw the default plan anew once the suite has another one than the drawing. */
  async #followDefaultPlan() {
    const plan = Object.entries(this.store.section("default_plan"));
    const drawn = this.#topologies.get("default")?.couplings;
    if (this.view !== "default" || this.#isLoading || plan.every(([flow, { coupling }]) => drawn?.[flow] === coupling)) return;
    this.#isLoading = true;
    await this.#load("default");
    this.#isLoading = false;
    this.#drawn = null;
  }

  render() {
    this.#followDefaultPlan();
    const topology = this.#topologies.get(this.view);
    if (!topology || !this.store.sections) return;
    if (this.asTable) return this.#renderTables(topology);
    if (this.#drawn?.view !== this.view) this.#draw(topology);
    this.#update();
  }

  #draw(topology) {
    $(".flows", this.drawings).replaceChildren(parseSvg(topology.flows_svg));
    $(".events", this.drawings).replaceChildren(parseSvg(topology.events_svg));
    const views = new Map(topology.arrows.map((arrow) => [arrow.name, arrow]));
    const arrows = [...this.drawings.querySelectorAll("[data-arrow]")].map((group) => {
      const label = $("text", group);
      const x = label.getAttribute("x");
      const text = s("text", { class: "rate", x, y: Number(label.getAttribute("y")) + BELOW_ARROW, "text-anchor": "middle" });
      group.append(text);
      const arrow = views.get(group.dataset.arrow);
      setAttributes(group, { role: "img", tabindex: -1, focus: () => this.#inspect(arrow.name), pointerenter: () => this.#inspect(arrow.name) });
      return { arrow, group, text };
    });
    const queues = [...this.drawings.querySelectorAll("[data-stop]")]
      .filter((group) => group.dataset.stop in topology.queues)
      .map((group) => {
        const name = $("text", group);
        const text = s("text", { class: "depth", x: name.getAttribute("x"), y: Number(name.getAttribute("y")) + BELOW_QUEUE, "text-anchor": "middle" });
        group.append(text);
        return { name: group.dataset.stop, group, text };
      });
    const services = [...this.drawings.querySelectorAll("[data-service]")].map((group) => ({ name: group.dataset.service, group }));
    this.#drawn = { view: this.view, arrows, queues, services };
    this.#focused = "";
    this.#inspect("");
  }

  #update() {
    const { arrows, queues, services } = this.#drawn;
    for (const { arrow, group, text } of arrows) {
      setText(text, arrow.messages ? rate(this.#rate(arrow)) : "");
      setAttributes(group, { "aria-label": this.#sentence(arrow) });
    }
    for (const { name, text } of queues) {
      const depth = this.#depth(name);
      const oldest = this.#oldest(name);
      const figures = depth ? `${count(depth.ready)} ready, ${count(depth.unacknowledged)} unacknowledged` : "";
      setText(text, oldest === null ? figures : `${figures}; oldest ${seconds(oldest)}`);
    }
    for (const { name, group } of services) group.classList.toggle("away", this.store.section("processes")[name]?.state === "away");
    const entry = this.#focused || arrows[0]?.arrow.name;
    for (const { arrow, group } of arrows) setAttributes(group, { tabindex: arrow.name === entry ? 0 : -1 });
    this.#inspect(this.#focused, false);
  }

  #renderTables(topology) {
    if (!this.tables.firstChild) this.#createTables();
    renderList(this.arrowRows, topology.arrows, (arrow) => `${this.view} ${arrow.name}`, createRow(COLUMNS.length), (row, arrow) => {
      const cells = [
        arrow.flow,
        arrow.coupling || "event",
        arrow.leg,
        arrow.source,
        arrow.target,
        arrow.pulled ? "target pulls" : "source pushes",
        arrow.messages ? rate(this.#rate(arrow)) : "not counted",
        arrow.messages ? count(this.#total(this.store.sections, arrow)) : "not counted",
        ...this.#waiting(arrow, topology),
      ];
      cells.forEach((text, n) => setText(row.cells[n], text));
    });
    const queues = Object.keys(topology.queues).sort();
    renderList(this.queueRows, queues, (name) => name, createRow(QUEUE_COLUMNS.length), (row, name) => {
      const depth = this.#depth(name);
      const figures = depth ? [depth.ready, depth.unacknowledged, depth.consumers].map(count) : ["–", "–", "–"];
      const oldest = this.#oldest(name);
      [name, topology.queues[name], ...figures, oldest === null ? "–" : seconds(oldest)].forEach((text, n) => setText(row.cells[n], text));
    });
  }

  #createTables() {
    this.arrowRows = h("tbody");
    this.queueRows = h("tbody");
    this.tables.append(
      createTable("Arrows of the message flow", COLUMNS, this.arrowRows),
      createTable("Queues", QUEUE_COLUMNS, this.queueRows),
    );
  }

  #total(sections, arrow) {
    return sections.messages?.[arrow.messages]?.[arrow.count] ?? 0;
  }

  #rate(arrow) {
    return this.store.rate((sections) => this.#total(sections, arrow));
  }

  /** Depth of a queue; of a message group, the sum of its partitions. */
  #depth(name) {
    const queues = this.store.section("queues");
    if (queues[name]) return queues[name];
    const partitions = Object.keys(queues).filter((each) => each.startsWith(`${name}.`) && /\.\d+$/.test(each));
    if (partitions.length === 0) return null;
    const sum = { ready: 0, unacknowledged: 0, consumers: 0 };
    for (const each of partitions) for (const figure of Object.keys(sum)) sum[figure] += queues[each][figure];
    return sum;
  }

  /** Messages of the arrow's leg that are sent and not handled yet, and the age of the oldest; nothing without a queue. */
  #waiting(arrow, topology) {
    if (!(arrow.source in topology.queues)) return ["", ""];
    const backlog = this.store.section("backlogs")[arrow.messages];
    return backlog ? [count(backlog.depth), seconds(this.store.age(backlog.since_s))] : ["0", "–"];
  }

  /** Age of the oldest message in a queue, over all legs of all plans that pass it; null if none waits. */
  #oldest(name) {
    const since = this.store.section("queue_oldest")[name];
    return since === undefined ? null : this.store.age(since);
  }

  #sentence(arrow) {
    const moved = arrow.pulled ? `${arrow.target} pulls from ${arrow.source}` : `${arrow.source} pushes to ${arrow.target}`;
    const figures = arrow.messages
      ? `${rate(this.#rate(arrow))}, ${count(this.#total(this.store.sections, arrow))} messages in all`
      : "not counted";
    return `${arrow.flow}, ${arrow.leg}${arrow.coupling ? ` by ${arrow.coupling}` : ""}: ${moved}; ${figures}.`;
  }

  #inspect(name, isNew = true) {
    if (isNew) this.#focused = name;
    const found = this.#drawn?.arrows.find(({ arrow }) => arrow.name === name);
    setText($(".inspector", this.root), found ? this.#sentence(found.arrow) : HINT);
  }

  #moveFocus(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const arrows = (this.#drawn?.arrows ?? []).filter(({ group }) => group.checkVisibility());
    const index = arrows.findIndex(({ group }) => group === event.target);
    if (!step || index < 0) return;
    event.preventDefault();
    const next = arrows[(index + step + arrows.length) % arrows.length];
    this.#focused = next.arrow.name;
    for (const { group } of arrows) setAttributes(group, { tabindex: group === next.group ? 0 : -1 });
    next.group.focus();
  }
}

function parseSvg(text) {
  return document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
}
