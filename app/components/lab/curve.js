// Curves over N, drawn here rather than by a chart library: 3 ms, not 60. Reports and downloads, which nobody presses
// keys in, use app/figures/shift.py.
import { button, el, est, num, plural, svg } from "../common/dom.js";

const W = 300;
const H = 150;
const L = 30;
const R = 8;
const T = 8;
const B = 28;
const BLUE = "var(--keep)";
const SECOND = "var(--unsure)";
const YOU = "var(--ablate)";

// Accuracy of the biased probe for the first N of the ranking, base and oracle as lines, the set on screen marked.
export function drawAccuracy(c) {
  const tip = (p) => `top ${p.n}: accuracy ${est(p.accuracy)}, S ${est(p.score)}`;
  const points = c.points.map((p) => ({ n: p.n, x: p.n, e: p.accuracy, tip: tip(p) }));
  const you = {
    n: c.you.n,
    x: c.you.n,
    e: c.you.accuracy,
    tip: `this set, ${plural(c.you.n, "latent")}: accuracy ${est(c.you.accuracy)}`,
  };
  const rules = [
    { at: c.oracle, name: "oracle", dash: "5 3" },
    { at: c.base, name: "base", dash: "2 3" },
  ];
  return chart({
    label: "Target accuracy of the biased probe against the number of ablated latents",
    lines: [{ name: "", colour: BLUE, points, marked: c.n }],
    rules,
    yous: [you],
    step: 0.05,
    most: 1,
  });
}

// S and E of the same sets; E comes when the background has read it. N is no measure of an edit, so both can be drawn
// against the share of variance that is removed, once that is known.
export function drawErased(lab) {
  const box = el("div", "erased");
  box.dataset.testid = "erased";
  box.dataset.pending = lab.erased.pending;
  const fill = () => box.replaceChildren(...erased(lab, again));
  const again = () => {
    fill();
    box.querySelector("button").focus();
  };
  fill();
  return box;
}

function erased(lab, redraw) {
  const found = lab.erased,
    known = found.points.length > 0,
    bySize = known && Boolean(lab.open.size);
  const none = found.problem || found.points.find((p) => p.erasure.value === null)?.erasure.reason,
    out = [];
  const { lines, yous } = sAndE(lab, bySize);
  if (lines.some((l) => l.points.length))
    out.push(
      chart({
        label: `S and selective erasure E against the ${bySize ? "edit size" : "number of ablated latents"}`,
        lines,
        rules: [{ at: 0, name: "", dash: "2 3" }],
        yous: yous.filter((y) => y.e.value !== null),
        step: 0.25,
        most: null,
        axis: bySize ? SIZE : N,
      }),
    );
  if (found.pending) out.push(el("div", "mute small", "E: reading\u2026"));
  else if (none) out.push(el("div", "mute small", `E: n/a: ${none}`));
  if (known) {
    const other = button("link", bySize ? "against N" : "against edit size", () => {
      lab.open.size = !lab.open.size;
      redraw();
    });
    other.dataset.testid = "edit-size";
    out.push(other);
  }
  return out;
}

function sAndE(lab, bySize) {
  const { curve } = lab.score,
    sizes = new Map(lab.erased.points.map((p) => [p.n, p.editSize]));
  const tip = (name, n, e) =>
    `top ${n}: ${name} ${est(e)}` + (sizes.has(n) ? `, edit size ${num(sizes.get(n), 3)}` : "");
  const at = (n) => (bySize ? sizes.get(n) : n);
  const s = curve.points.map((p) => ({ n: p.n, x: at(p.n), e: p.score, tip: tip("S", p.n, p.score) }));
  const e = lab.erased.points.map((p) => ({
    n: p.n,
    x: at(p.n),
    e: p.erasure,
    tip: `${tip("E", p.n, p.erasure)}, R ${est(p.recoverability)}`,
  }));
  const lines = [
    { name: "S", colour: BLUE, points: s, marked: curve.n },
    { name: "E", colour: SECOND, points: e, marked: curve.n },
  ].map((l) => ({ ...l, points: l.points.filter((p) => p.e.value !== null && p.x !== undefined) }));
  const size = lab.gone.editSize ?? null;
  if (bySize && size === null) return { lines, yous: [] };
  const mine = { n: curve.you.n, x: bySize ? size : curve.you.n };
  const yous = [{ ...mine, e: curve.you.score, tip: `this set: S ${est(curve.you.score)}` }];
  if (lab.gone.erasure)
    yous.push({ ...mine, e: lab.gone.erasure, tip: `this set: E ${est(lab.gone.erasure)}`, name: "E" });
  return { lines, yous };
}

const N = { words: "latents ablated (N, log scale)", scale: Math.log1p, tick: (p) => String(p.n), least: 1 };
const SIZE = { words: "edit size: share of variance removed", scale: (v) => v, tick: (p) => num(p.x, 2), least: 1e-6 };

// lines: [{name, colour, points: [{n, x, e, tip}], marked}], each with the band of its intervals; rules: lines across at a
// value; yous: the set on screen. The value axis ends at multiples of `step`, and at most at `most` (null: anywhere).
function chart({ label, lines, rules, yous, step, most, axis = N }) {
  const every = [...lines.flatMap((l) => l.points), ...yous];
  const ys = every.flatMap((p) => p.e.ci || [p.e.value]).concat(rules.map((r) => r.at));
  const lo = step * Math.floor(Math.min(...ys) / step),
    top = step * Math.ceil(Math.max(...ys) / step),
    hi = most === null ? top : Math.min(most, top);
  const widest = Math.max(...every.map((p) => p.x), axis.least),
    x = (v) => L + ((W - L - R) * axis.scale(v)) / axis.scale(widest);
  const y = (v) => T + ((H - T - B) * (hi - v)) / Math.max(0.01, hi - lo);
  const s = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
  axes(s, x, y, [lo, (lo + hi) / 2, hi], longest(lines), axis);
  for (const r of rules) {
    const across = { x1: L, x2: W - R, y1: y(r.at), y2: y(r.at), stroke: "currentColor", "stroke-opacity": 0.6 };
    s.append(tipped(svg("line", { ...across, "stroke-dasharray": r.dash }), `${r.name} ${num(r.at)}`));
    text(s, r.name, W - R, y(r.at) - 3, "end");
  }
  for (const l of lines) drawLine(s, l, x, y);
  for (const you of yous) drawYou(s, you, x, y);
  return s;
}

const longest = (lines) => lines.map((l) => l.points).sort((a, b) => b.length - a.length)[0];

function axes(s, x, y, ticks, points, axis) {
  for (const v of ticks) {
    s.append(svg("line", { x1: L, x2: W - R, y1: y(v), y2: y(v), stroke: "currentColor", "stroke-opacity": 0.12 }));
    text(s, num(v, 2), L - 4, y(v) + 3.5, "end");
  }
  let last = -99;
  for (const p of points)
    if (x(p.x) - last > 17) {
      text(s, axis.tick(p), x(p.x), H - B + 12);
      last = x(p.x);
    }
  text(s, axis.words, (L + W - R) / 2, H - 2);
}

function drawLine(s, { name, colour, points, marked }, x, y) {
  if (!points.length) return;
  const band = points.filter((p) => p.e.ci);
  const edge = (list, k) => list.map((p) => `${x(p.x)},${y(p.e.ci[k])}`);
  if (band.length)
    s.append(
      svg("polygon", {
        points: [...edge(band, 1), ...edge(band.toReversed(), 0)].join(" "),
        fill: colour,
        "fill-opacity": 0.16,
      }),
    );
  const path = points.map((p) => `${x(p.x)},${y(p.e.value)}`).join(" ");
  s.append(svg("polyline", { points: path, fill: "none", stroke: colour, "stroke-width": 1.8 }));
  for (const p of points) {
    const dot = { cx: x(p.x), cy: y(p.e.value), r: p.n === marked ? 4 : 2.6, fill: colour };
    s.append(tipped(svg("circle", dot), p.tip));
  }
  const end = points.at(-1);
  if (name) text(s, name, x(end.x) - 6, y(end.e.value) - 6, "end", { style: `fill:${colour};font-weight:600` });
}

function drawYou(s, you, x, y) {
  const px = x(you.x),
    py = y(you.e.value),
    k = you.e.ci;
  if (k) s.append(svg("line", { x1: px, x2: px, y1: y(k[0]), y2: y(k[1]), stroke: YOU, "stroke-width": 1.5 }));
  const turned = { x: px - 4.5, y: py - 4.5, width: 9, height: 9, transform: `rotate(45 ${px} ${py})`, fill: YOU };
  s.append(tipped(svg("rect", turned), you.tip));
  const [at, anchor] = px > W - 50 ? [px - 8, "end"] : [px + 8, "start"];
  text(s, you.name ? `you, ${you.name}` : "you", at, py + 3, anchor, { style: `fill:${YOU};font-weight:600` });
}

function text(s, t, px, py, anchor = "middle", extra = {}) {
  const n = svg("text", { x: px, y: py, "text-anchor": anchor, ...extra });
  n.textContent = t;
  s.append(n);
}

function tipped(node, t) {
  const n = svg("title", {});
  n.textContent = t;
  node.append(n);
  return node;
}
