/**
 * The stream of figures, one for all tabs of a browser, since a browser allows six connections to an origin. The tab that
 * holds the lock listens and passes every event on; when it closes, another tab gets the lock.
 */

const NAME = "prebook-control-room";
const EVENTS = ["snapshot", "delta", "heartbeat"];
const RETRY_MS = 3000;

export class Live {
  #channel = new BroadcastChannel(NAME);
  #source = null;

  /** `handle(type, event)` returns false to ask for a snapshot; `snapshot()` returns the state for a tab that joins. */
  constructor({ handle, snapshot, onSessionEnd }) {
    Object.assign(this, { handle, snapshot, onSessionEnd });
    this.#channel.addEventListener("message", ({ data }) => this.#receive(data));
    this.#channel.postMessage({ type: "join" });
    navigator.locks.request(NAME, () => new Promise(() => this.#listen()));
  }

  get leads() {
    return this.#source !== null;
  }

  #listen() {
    this.#source?.close();
    this.#source = new EventSource("/v1/live");
    for (const type of EVENTS) this.#source.addEventListener(type, ({ data }) => this.#hear(type, JSON.parse(data)));
    this.#source.addEventListener("error", () => this.#source.readyState === EventSource.CLOSED && this.#listenLater());
  }

  #hear(type, event) {
    if (!this.handle(type, event)) return this.#listen();
    this.#channel.postMessage({ type, event });
  }

  #receive({ type, event }) {
    if (type === "end") this.onSessionEnd();
    else if (type === "join") this.leads && this.snapshot() && this.#channel.postMessage({ type: "snapshot", event: this.snapshot() });
    else if (!this.leads && !this.handle(type, event)) this.#channel.postMessage({ type: "join" });
  }

  /** The browser gives up after a refusal; only the end of the session is for good. */
  async #listenLater() {
    const response = await fetch("/v1/topology/default").catch(() => null);
    if (response?.status === 401) {
      this.#channel.postMessage({ type: "end" });
      return this.onSessionEnd();
    }
    setTimeout(() => this.#listen(), RETRY_MS);
  }
}

/** Send a change. Return the status and the decoded body; a failed exchange has status 0 and a `detail`. */
export async function send(method, path, body) {
  try {
    const request = body === undefined ? { method } : { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(path, request);
    return { status: response.status, body: await response.json().catch(() => ({})) };
  } catch (error) {
    return { status: 0, body: { detail: `the control room does not answer (${error.message})` } };
  }
}
