/** Elements without a framework, and text that is written only when it changes. */

const SVG = "http://www.w3.org/2000/svg";

export const $ = (selector, within = document) => within.querySelector(selector);
export const h = (tag, attrs, ...children) => build(document.createElement(tag), attrs, children);
export const s = (tag, attrs, ...children) => build(document.createElementNS(SVG, tag), attrs, children);

function build(element, attrs = {}, children = []) {
  setAttributes(element, attrs);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Functions become listeners; null, undefined and false remove an attribute. No inline style: the policy forbids it. */
export function setAttributes(element, attrs) {
  for (const [name, value] of Object.entries(attrs)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

export function setText(element, content) {
  const text = String(content);
  if (element.textContent !== text) element.textContent = text;
  return element;
}

/** Keeps one child per item, by key, in the order of the items: a child that stays keeps its focus. */
export function renderList(parent, items, keyOf, create, update = () => {}) {
  const children = (parent.childByKey ??= new Map());
  const wanted = new Set();
  let place = parent.firstChild;
  for (const item of items) {
    const key = String(keyOf(item));
    wanted.add(key);
    if (!children.has(key)) children.set(key, create(item));
    const child = children.get(key);
    if (child !== place) parent.insertBefore(child, place);
    else place = place.nextSibling;
    update(child, item);
  }
  for (const [key, child] of children) {
    if (wanted.has(key)) continue;
    child.remove();
    children.delete(key);
  }
}
