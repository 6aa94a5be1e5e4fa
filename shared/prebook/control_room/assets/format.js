/** Numbers as people read them: at most three significant digits, always with their unit. */

const grouped = new Intl.NumberFormat("en");

export const count = (value) => grouped.format(Math.round(value));
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
export const percent = (share) => `${share >= 0.9995 || share <= 0 ? Math.round(share * 100) : (share * 100).toFixed(1)} %`;
export const seconds = (value) => `${value < 9.95 ? value.toFixed(1) : count(value)} s`;

/** Messages a second. A rate is null until two totals are known. */
export function rate(value) {
  if (value === null) return "–";
  if (value > 0 && value < 0.05) return "<0.1/s";
  return `${value >= 99.5 ? count(value) : value.toFixed(1)}/s`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95) return `${value.toFixed(1)} ms`;
  return value < 999.5 ? `${Math.round(value)} ms` : seconds(value / 1000);
}
