/** State of the suite as the stream has told it: a snapshot, kept up to date by deltas of absolute values. */

const RATE_WINDOW_MS = 5000;
const MIN_RATE_WINDOW_MS = 800;
const NOT_SECTIONS = new Set(["seq", "at", "began_at"]);

export class Store {
  sections = null;
  seq = 0;
  at = 0;
  heardAt = 0;
  #marks = [];

  /** Apply an event. Return false if it does not follow the last one, and a new snapshot is needed. */
  apply(type, event) {
    this.heardAt = performance.now();
    if (type === "snapshot") {
      this.sections = event;
      this.#marks = [];
    } else if (!this.sections || event.seq !== this.seq + 1) {
      return event.seq <= this.seq;
    } else {
      this.#merge(event);
    }
    this.seq = event.seq;
    this.at = event.at;
    if (type !== "heartbeat" && (event.messages || event.ledger || event.admission)) this.#mark();
    return true;
  }

  section(name) {
    return this.sections?.[name] ?? {};
  }

  /** The whole state as the data of a snapshot, for a tab that joins. */
  snapshot() {
    return { ...this.sections, seq: this.seq, at: this.at };
  }

  /** Seconds since the last event. A heartbeat comes every second, so that silence is not taken for rest. */
  silence() {
    return (performance.now() - this.heardAt) / 1000;
  }

  /** Seconds from a Unix time until the last event, by the console's clock. */
  age(since_s) {
    return Math.max(0, (Date.parse(this.sections.began_at) + this.at) / 1000 - since_s);
  }

  /** Growth a second of a total over the last seconds; null until it has been seen twice. */
  rate(total) {
    const [first] = this.#marks;
    const spanMs = first ? this.at - first.at : 0;
    if (spanMs < MIN_RATE_WINDOW_MS) return null;
    return Math.max(0, ((total(this.sections) ?? 0) - (total(first.sections) ?? 0)) / (spanMs / 1000));
  }

  #merge(event) {
    for (const [name, value] of Object.entries(event)) {
      if (NOT_SECTIONS.has(name)) continue;
      const known = this.sections[name];
      this.sections[name] = isObject(known) && isObject(value) ? mergeByKey(known, value) : value;
    }
  }

  #mark() {
    this.#marks.push({ at: this.at, sections: { ...this.sections } });
    while (this.#marks.length > 2 && this.at - this.#marks[1].at >= RATE_WINDOW_MS) this.#marks.shift();
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Null removes a key. The result is a new object, so that earlier marks keep their values. */
function mergeByKey(known, changes) {
  const merged = { ...known, ...changes };
  for (const [key, value] of Object.entries(changes)) if (value === null) delete merged[key];
  return merged;
}
