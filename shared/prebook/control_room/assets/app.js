import { Conversation } from "./conversation.js";
import { $, setAttributes } from "./dom.js";
import { Faults } from "./faults.js";
import { Flow } from "./flow.js";
import { Header } from "./header.js";
import { Letters } from "./letters.js";
import { Load } from "./load.js";
import { Live } from "./live.js";
import { Plans } from "./plans.js";
import { Processes } from "./processes.js";
import { Ride } from "./ride.js";
import { bindLink, readRoute, refreshLinks } from "./route.js";
import { Store } from "./store.js";
import { Switches } from "./switches.js";

const RENDER_INTERVAL_MS = 250;
const CONNECTION_INTERVAL_MS = 500;

const store = new Store();
const header = new Header($(".top"), store);
const flow = new Flow($("#flow"), store);
const letters = new Letters($("#dead-letters"), store);
const conversation = new Conversation($("#conversation"));
const panels = [
  header,
  flow,
  new Plans($("#plans"), store),
  new Switches($("#plans .switches"), store),
  new Load($("#load"), store),
  new Faults($("#faults"), store),
  letters,
  new Processes($("#health"), store),
];
const sections = [...document.querySelectorAll(".sections a")].map((link) => bindLink(link, { section: link.hash.slice(1) }));
let isPaused = false;
let isScheduled = false;
let renderedAt = 0;

new Ride($("#ride"));
new Live({
  handle: (type, event) => {
    const isContinuous = store.apply(type, event);
    scheduleRender();
    return isContinuous;
  },
  snapshot: () => (store.sections ? store.snapshot() : null),
  onSessionEnd: () => {
    header.ended = true;
    header.renderConnection();
  },
});

/** Text changes at most four times a second, so that it can be read. */
function scheduleRender() {
  if (isScheduled || isPaused) return;
  isScheduled = true;
  setTimeout(render, Math.max(0, renderedAt + RENDER_INTERVAL_MS - performance.now()));
}

function render() {
  isScheduled = false;
  renderedAt = performance.now();
  if (!store.sections) return;
  for (const panel of panels) panel.render();
  header.renderConnection();
  document.documentElement.dataset.seq = store.seq;
}

function navigate() {
  const route = readRoute();
  flow.show(route);
  letters.show(route);
  conversation.show(route);
  refreshLinks();
  for (const link of sections) setAttributes(link, { "aria-current": link.changes.section === route.section && "true" });
}

$("#pause").addEventListener("click", ({ currentTarget }) => {
  isPaused = !isPaused;
  currentTarget.textContent = isPaused ? "Resume" : "Pause";
  currentTarget.setAttribute("aria-pressed", isPaused);
  scheduleRender();
});
addEventListener("hashchange", () => {
  navigate();
  document.getElementById(readRoute().section)?.scrollIntoView({ block: "start" });
});
setInterval(() => header.renderConnection(), CONNECTION_INTERVAL_MS);
navigate();
