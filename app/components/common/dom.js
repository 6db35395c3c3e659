// Small helpers. Text only ever enters the page through textContent: tokens and explanations are untrusted.
const SVG = "http://www.w3.org/2000/svg";
const shown = (t) => String(t).replaceAll("\0", "\u2400");

export function el(tag, cls, ...kids) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  for (const kid of kids)
    if (kid !== null && kid !== undefined) node.append(kid instanceof Node ? kid : document.createTextNode(shown(kid)));
  return node;
}
export function button(cls, label, act, hint) {
  const b = el("button", cls);
  b.type = "button";
  if (hint) b.append(el("kbd", "", hint));
  b.append(label);
  b.onclick = (e) => {
    e.stopPropagation();
    act();
  };
  return b;
}
export function svg(tag, attrs, ...kids) {
  const node = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attrs)) node.setAttribute(k, v);
  for (const kid of kids) node.append(kid);
  return node;
}
// The same as saeeval_core/wording.py for nouns that only take an s.
export const plural = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
const minus = (s) => s.replace("-", "\u2212");
export const num = (v, d = 3) =>
  v === null || v === undefined ? "n/a" : minus((Math.abs(v) < 0.5 * 10 ** -d ? 0 : v).toFixed(d));
export const signed = (v, d = 3) => (v >= 0.5 * 10 ** -d ? "+" : "") + num(v, d);
export const sci = (v) =>
  v === null || v === undefined ? "n/a" : v === 0 ? "0" : Math.abs(v) >= 0.001 ? num(v, 3) : minus(v.toExponential(1));
export const percent = (v) =>
  (v >= 0.1 ? (100 * v).toFixed(0) : v >= 0.001 ? (100 * v).toFixed(1) : (100 * v).toFixed(2)) + " %";
export const ci = (e, d = 2) => (e.ci ? ` [${num(e.ci[0], d)}, ${num(e.ci[1], d)}]` : "");
// An estimate as text; undefined ones say why.
export const est = (e, d = 2, f = num) =>
  e === null || e === undefined ? "\u2026" : e.value === null ? `n/a: ${e.reason}` : f(e.value, d) + ci(e, d);
// The same for a narrow column: the interval below the number.
export function twoLines(e, f, mark = "") {
  if (e.value === null) {
    const why = el("span", "mute", "n/a");
    why.title = e.reason;
    return why;
  }
  return el("div", "", f(e.value, 2) + mark, el("div", "ci tiny", ci(e).trim()));
}
export function table(head, rows, right = []) {
  const t = el("table");
  t.append(el("thead", "", el("tr", "", ...head.map((h, i) => el("th", right.includes(i) ? "right" : "", h)))));
  const body = el("tbody");
  for (const r of rows)
    body.append(el("tr", r.cls || "", ...(r.cells || r).map((c, i) => el("td", right.includes(i) ? "right" : "", c))));
  t.append(body);
  return t;
}
export function details(title, open, ...kids) {
  const d = el("details", "", el("summary", "", title), ...kids);
  d.open = open;
  return d;
}
