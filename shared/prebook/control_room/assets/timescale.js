import { milliseconds } from "./format.js";

const GAP_WIDTH = 34;
const MIN_GAP_MS = 60;
const GAP_SHARE = 0.48;
const MIN_TICK_DISTANCE = 70;
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const MAX_TICKS = 60;

/**
 * Times in milliseconds to pixels, with idle gaps cut to a fixed width: what happens keeps its proportions.
 * `gaps` are the cut ones, and `ticks(origin)` the labels of the axis.
 */
export function createTimescale(times, left, right) {
  const at = [...new Set(times)].sort((a, b) => a - b);
  const spans = at.slice(1).map((time, n) => time - at[n]);
  const limit = idleLimit(spans);
  const isIdle = spans.map((span) => span > limit);
  const busyMs = spans.reduce((total, span, n) => total + (isIdle[n] ? 0 : span), 0) || 1;
  const perMs = Math.max(0.001, right - left - isIdle.filter(Boolean).length * GAP_WIDTH) / busyMs;
  const xs = [left];
  spans.forEach((span, n) => xs.push(xs[n] + (isIdle[n] ? GAP_WIDTH : span * perMs)));
  const gaps = spans.flatMap((span, n) => (isIdle[n] ? [{ x: xs[n], width: GAP_WIDTH, ms: span }] : []));
  const x = (time) => interpolate(time, at, xs);
  return { x, gaps, ticks: (origin) => ticksOf(origin, at.at(-1), x, gaps, perMs) };
}

function interpolate(time, at, xs) {
  const next = at.findIndex((each) => each >= time);
  if (next < 0) return xs.at(-1);
  if (next === 0 || at[next] === time) return xs[next];
  const share = (time - at[next - 1]) / (at[next] - at[next - 1]);
  return xs[next - 1] + share * (xs[next] - xs[next - 1]);
}

/** A gap is idle if it is longer than half of all shorter ones together. */
function idleLimit(spans) {
  let shorterMs = 0;
  for (const span of [...spans].sort((a, b) => a - b)) {
    if (span > MIN_GAP_MS && span > GAP_SHARE * shorterMs) return span - 0.001;
    shorterMs += span;
  }
  return Infinity;
}

function ticksOf(origin, end, x, gaps, perMs) {
  const step = STEPS_MS.find((each) => each * perMs > MIN_TICK_DISTANCE) ?? STEPS_MS.at(-1);
  const ticks = [];
  const isFree = (place) => gaps.every((gap) => Math.abs(gap.x + gap.width / 2 - place) >= MIN_TICK_DISTANCE * 0.75);
  for (let time = origin; time <= end && ticks.length < MAX_TICKS; time += step) {
    const place = x(time);
    const isApart = ticks.length === 0 || place - ticks.at(-1).x >= MIN_TICK_DISTANCE * 0.7;
    if (isApart && isFree(place)) ticks.push({ x: place, label: time === origin ? "0" : `+${milliseconds(time - origin)}` });
  }
  return ticks;
}
