/** Everything that can be linked is in the hash: `#section?name=value`. Back and Forward need nothing else. */

export function readRoute(hash = location.hash) {
  const [section, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { section, ...Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of the present state with some changes; null removes a name. */
export function href(changes, from = readRoute()) {
  const { section, ...named } = { ...from, ...changes };
  const set = Object.entries(named).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(set);
  return `#${section || ""}${query.size ? `?${query}` : ""}`;
}

/** Make a link keep the rest of the state: `refreshLinks` computes its address again after each change. */
export function bindLink(link, changes) {
  link.changes = changes;
  link.dataset.route = "";
  link.setAttribute("href", href(resolve(changes)));
  return link;
}

export function refreshLinks() {
  for (const link of document.querySelectorAll("a[data-route]")) {
    const target = href(resolve(link.changes));
    if (link.getAttribute("href") !== target) link.setAttribute("href", target);
  }
}

const resolve = (changes) => (typeof changes === "function" ? changes() : changes);
