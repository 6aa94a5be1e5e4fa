import { s } from "./dom.js";
import { milliseconds, plural } from "./format.js";
import { href } from "./route.js";
import { createTimescale } from "./timescale.js";

const RIDER = "rider";
const LABEL_WIDTH = 116;
const RIGHT = 24;
const TOP = 30;
const ROW_HEIGHT = 17;
const LANE_PADDING = 12;
const BAR = 9;
const MIN_BAR_WIDTH = 16;

/** Milliseconds since the epoch, with the fraction that Date leaves out; null for null. */
export function instant(text) {
  if (text === null) return null;
  const [, whole, fraction = "0"] = /^([^.]+?)(?:\.(\d+))?Z$/.exec(text);
  return Date.parse(`${whole}Z`) + Number(`0.${fraction}`) * 1000;
}

/** The messages of a timeline, with their times in milliseconds and the lanes that they connect. */
export function placeMessages(timeline) {
  return timeline.messages.map((message) => {
    const [created, left, began, ended] = ["created_at", "left_at", "began_at", "ended_at"].map((name) => instant(message[name]));
    const attempts = message.attempts.map((attempt) => ({ ...attempt, time: instant(attempt.at) }));
    return { ...message, created, left, began, ended, attempts, from: laneOf(message, message.sender), to: laneOf(message, message.receiver ?? message.sender) };
  });
}

/** The simulated fleets share a service; each has a lane of its own, so that requests at the same time stay apart. */
const laneOf = (message, service) => (service === "fleets" && message.key ? `fleets, ${message.key}` : service);

/** A timeline as a drawing: lanes are services, time goes to the right, and a number is a row of the table. */
export function drawSequence(timeline, width, selected) {
  const messages = placeMessages(timeline);
  const times = timesOf(timeline, messages);
  const end = Math.max(...times);
  const scale = createTimescale(times, LABEL_WIDTH, width - RIGHT);
  const lanes = stackLanes(messages, scale, end);
  const label = `Sequence of ${timeline.id}: ${plural(messages.length, "message")}, listed below in the same order`;
  const parts = messages.map((message) => drawMessage(message, lanes, scale, end, message.number === selected));
  const height = lanes.height + 26;
  return s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label },
    hatch(),
    drawLanes(lanes, width),
    scale.gaps.map((gap) => drawGap(gap, lanes.height)),
    scale.ticks(instant(timeline.requested_at)).map((tick) => drawTick(tick, lanes.height)),
    parts,
    drawRider(timeline, messages, lanes, scale),
    drawMilestones(timeline, lanes, scale, width),
  );
}

const milestonesOf = (timeline) =>
  [["requested", timeline.requested_at], ["settled", timeline.settled_at], ["rider notified", timeline.notified_at]]
    .map(([name, at]) => [name, instant(at)])
    .filter(([, time]) => time !== null);

const timesOf = (timeline, messages) =>
  [
    ...milestonesOf(timeline).map(([, time]) => time),
    ...messages.flatMap(({ created, left, began, ended, attempts }) => [created, left, began, ended, ...attempts.map(({ time }) => time)]),
  ].filter((time) => time !== null);

/** Messages that are in one lane at the same time get rows of their own. */
function stackLanes(messages, scale, end) {
  const names = [RIDER, ...new Set(messages.flatMap(({ from, to }) => [from, to]))];
  const ends = new Map(names.map((name) => [name, []]));
  const rows = new Map();
  for (const message of [...messages].sort((a, b) => reachedAt(a, end) - reachedAt(b, end))) {
    const start = scale.x(reachedAt(message, end)) - 2;
    const own = ends.get(message.to);
    let row = own.findIndex((taken) => taken < start);
    if (row < 0) row = own.push(0) - 1;
    own[row] = Math.max(scale.x(message.ended ?? message.began ?? end), start + MIN_BAR_WIDTH) + 14;
    rows.set(message.number, row);
  }
  const tops = new Map();
  let y = TOP;
  for (const name of names) {
    tops.set(name, y);
    y += Math.max(1, ends.get(name).length) * ROW_HEIGHT + LANE_PADDING;
  }
  const middle = (name, row = 0) => tops.get(name) + LANE_PADDING / 2 + ROW_HEIGHT * (row + 0.5);
  return { names, tops, height: y, base: (name) => middle(name), at: (message) => middle(message.to, rows.get(message.number)) };
}

const reachedAt = ({ left, created, began, attempts }, end) => left ?? created ?? began ?? attempts[0]?.time ?? end;

function drawMessage(message, lanes, scale, end, isSelected) {
  const y = lanes.at(message);
  const left = reachedAt(message, end);
  const waitsUntil = message.began ?? (message.receiver && message.left !== null && message.state === "under_way" ? end : left);
  const worksUntil = message.ended ?? message.began;
  const bar = (name, from, until) =>
    s("rect", { class: name, x: scale.x(from), y: y - BAR / 2, width: Math.max(1.5, scale.x(until) - scale.x(from)), height: BAR, rx: 1.5 });
  const x = Math.max(scale.x(worksUntil ?? waitsUntil), scale.x(left) + 2) + 4;
  const name = `${message.number}. ${describe(message)}`;
  return s(
    "a",
    { href: href({ section: "conversation", number: message.number }), tabindex: -1, "aria-label": name, "data-message": message.number, class: `sent ${message.kind === "event" ? "facts" : message.coupling}${isSelected ? " selected" : ""}` },
    s("title", {}, name),
    message.created !== null && left > message.created && s("path", { class: "held", d: `M${scale.x(message.created)} ${lanes.base(message.from)}H${scale.x(left)}` }),
    message.from !== message.to && drawArrow(scale.x(left), lanes.base(message.from), y),
    waitsUntil > left && bar("waits", left, waitsUntil),
    message.began !== null && bar("works", message.began, worksUntil),
    message.attempts.map((attempt) => drawAttempt(attempt, scale, attempt.service === message.sender ? lanes.base(message.from) : y)),
    s("text", { class: "number", x, y: y + 3.5 }, message.attempt > 1 ? `${message.number}, attempt ${message.attempt}` : message.number),
  );
}

/** A failure is a cross, and the delay until the next attempt a dashed line. */
function drawAttempt({ stage, time, seconds }, scale, y) {
  const x = scale.x(time);
  if (stage === "retried") return s("path", { class: "delay", d: `M${x} ${y}H${scale.x(time + seconds * 1000)}` });
  return s("path", { class: "cross", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` });
}

function drawArrow(x, from, to) {
  const up = to > from ? -1 : 1;
  const tip = to + (up * BAR) / 2;
  return s("g", {}, s("path", { class: "flight", d: `M${x} ${from}V${tip}` }), s("path", { class: "tip", d: `M${x} ${tip}l-2.6 ${up * 5}h5.2z` }));
}

/** What the rider sends and gets: the request, and the notice. */
function drawRider(timeline, messages, lanes, scale) {
  const notice = messages.find(({ name, kind, ended, began }) => name === "notify_rider" && kind === "request" && (ended ?? began) !== null);
  const requested = scale.x(instant(timeline.requested_at));
  return s(
    "g",
    { class: "edge" },
    lanes.tops.has("booking") && drawArrow(requested, lanes.base(RIDER), lanes.base("booking")),
    notice && drawArrow(scale.x(notice.ended ?? notice.began), lanes.at(notice), lanes.base(RIDER)),
  );
}

const drawLanes = (lanes, width) =>
  lanes.names.map((name, n) => {
    const top = lanes.tops.get(name);
    const bottom = n + 1 < lanes.names.length ? lanes.tops.get(lanes.names[n + 1]) : lanes.height;
    return s(
      "g",
      { class: "swim" },
      s("rect", { class: n % 2 ? "odd" : "even", x: 0, y: top, width, height: bottom - top }),
      s("text", { x: 8, y: top + LANE_PADDING / 2 + ROW_HEIGHT / 2 + 4 }, name),
    );
  });

const drawGap = ({ x, width, ms }, height) =>
  s("g", { class: "gap" }, s("rect", { x, y: TOP, width, height: height - TOP }), s("text", { x: x + width / 2, y: height + 11, "text-anchor": "middle" }, milliseconds(ms)));

const drawTick = ({ x, label }, height) =>
  s("g", { class: "tick" }, s("path", { d: `M${x} ${TOP}V${height}` }), s("text", { x, y: height + 11, "text-anchor": "middle" }, label));

function drawMilestones(timeline, lanes, scale, width) {
  let last = -Infinity;
  return milestonesOf(timeline).map(([name, time]) => {
    const x = scale.x(time);
    const textWidth = name.length * 6.2 + 8;
    const label = Math.min(Math.max(x, last + 6), width - textWidth);
    last = label + textWidth;
    return s(
      "g",
      { class: "milestone" },
      s("path", { d: `M${x} 18V${lanes.height}` }),
      s("circle", { cx: x, cy: 18, r: 2.5 }),
      s("text", { x: label - 3, y: 11 }, name),
    );
  });
}

const hatch = () =>
  s(
    "defs",
    {},
    s("pattern", { id: "hatch", width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("path", { d: "M0 0v4", class: "hatched" })),
  );

/** One message as a sentence, for people who do not see the drawing. */
export function describe(message) {
  const name = [message.name, message.key, message.kind].filter(Boolean).join(" ");
  const way = message.receiver ? `${message.sender} to ${message.receiver}` : `${message.sender}, for any subscriber`;
  const waits = [["outbox", message.outbox_s], ["queue", message.queue_s], ["processing", message.processing_s]]
    .filter(([, value]) => value !== null)
    .map(([part, value]) => `${part} ${message.is_measured ? "" : "about "}${milliseconds(value * 1000)}`);
  const outcome = message.is_timeout ? "in place of a reply that did not come in time" : message.state.replace("_", " ");
  const failures = message.attempts.map(({ stage, service, detail }) => `${stage.replace("_", " ")} at ${service}${detail ? ` (${detail})` : ""}`);
  return [`${name}, ${way}, ${message.coupling}`, ...waits, outcome, ...failures].join("; ");
}
