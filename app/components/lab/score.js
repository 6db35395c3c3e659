// Score card: everything that answers a decision. Curves are drawn here rather than by a chart library: 3 ms, not 60.
// Reports and downloads, which nobody presses keys in, use app/figures/shift.py.
import { button, ci, details, el, est, num, signed, svg, table } from "../common/dom.js";
import { drawGone } from "./gone.js";

const CARRY = "which latents carry it (leave-one-out)";
const LOG = "decision log";
const CURVE = "as a table";

function line(label, e, hint, f) {
  const tr = el("tr", "", el("td", "", label), el("td", "right", est(e, 2, f)));
  if (hint) tr.title = hint;
  return tr;
}
export function drawScore(lab) {
  const s = lab.score,
    record = lab.record,
    box = lab.parts.score;
  const big = el("div", "big", s.score.value === null ? "n/a" : num(s.score.value, 3));
  big.id = "score";
  big.setAttribute("aria-live", "polite");
  big.dataset.testid = "score";
  const head = [el("h3", "", `S_SHIFT, ${s.part}`), big];
  if (s.score.value === null) head.push(el("div", "note", s.score.reason));
  else {
    head.push(el("div", "ci", `95 % interval${ci(s.score)}`));
    if (s.delta && s.delta.value !== null)
      head.push(
        el(
          "div",
          s.delta.value >= 0.0005 ? "up" : s.delta.value <= -0.0005 ? "down" : "mute",
          `${est(s.delta, 3, signed)} from the set before`,
        ),
      );
  }
  head.push(el("div", "small", el("b", "", s.setName), ` \u00b7 ${s.n} ablated \u00b7 ${s.decided} decided`));
  const facts = el("table"),
    body = el("tbody");
  body.append(
    line(
      "target accuracy",
      s.accuracy,
      "C_b's accuracy on the target label after ablation; each quadrant counts a quarter",
    ),
    line("before (base)", s.base, "C_b, nothing ablated"),
    line("oracle", s.oracle, "probe trained on balanced texts"),
    line(`worst group: ${s.worstName}`, s.worst, "lowest accuracy of the four quadrants"),
    line("leakage", s.leakage, "C_b's accuracy on the spurious label, as distance from .5"),
    line(s.otherName, s.other, s.otherHint),
  );
  facts.append(body);
  const left = el(
    "div",
    "",
    ...head,
    facts,
    el("p", "how", s.how),
    drawGone(lab),
    el("h4", "", "Accuracy against N, ranked by attribution"),
    curve(s.curve),
    details(
      CURVE,
      lab.open.curve,
      table(
        ["N", "accuracy", "S"],
        s.curve.points.map((p) => [p.n, est(p.accuracy), est(p.score)]),
        [1, 2],
      ),
    ),
  );
  const rows = s.sets.map((r) => ({
    cls: r.mine ? "mine" : "",
    cells: [
      r.name,
      String(r.n),
      twoLines(r.score, num),
      r.mine ? "" : twoLines(r.diff, signed, r.same ? " \u2248" : ""),
    ],
  }));
  const right = el(
    "div",
    "",
    el("h4", "", "Sets to compare"),
    table(["set", "n", `S ${s.part}`, "\u2212 mine"], rows, [1, 2, 3]),
    el("p", "how", "Paired differences over the same resamples; \u2248 not separable from 0 (the interval covers it)."),
  );
  if (s.canCarry)
    right.append(
      details(
        CARRY,
        lab.open.carry,
        s.carry
          ? table(
              ["latent", "change of S"],
              s.carry.map((c) => [
                button("link num", String(c.latent), () => lab.go(c.latent)),
                est(c.change, 3, signed),
              ]),
              [1],
            )
          : el("div", "mute small", "computing\u2026"),
      ),
    );
  const commit = button("commit", record.canCommit ? "Commit: compute the test score once" : record.commitNote, () =>
    lab.commit(),
  );
  commit.disabled = !record.canCommit;
  right.append(commit, el("p", "how", `Different dev scores of this set that have been shown: ${record.looks}.`));
  for (const c of record.commits)
    right.append(
      el(
        "div",
        "note small",
        el("b", "", `test ${c.text}`),
        el("div", "", c.gone),
        `${c.n} latents, after ${c.looks} \u00b7 ${c.who}, ${c.at}`,
        c.stale ? el("div", "mute", "the set has changed since") : null,
      ),
    );
  if (record.log.length)
    right.append(details(LOG, lab.open.log, table(["when", "who", "latent", "change"], record.log)));
  const all = el("div", "body", left, right);
  box.replaceChildren(all);
  const names = { [CARRY]: "carry", [LOG]: "log", [CURVE]: "curve" };
  box.querySelectorAll("details").forEach((d) => {
    if (!(d.firstChild.textContent in names)) return;
    d.ontoggle = () => {
      const name = names[d.firstChild.textContent],
        asked = name === "carry" && d.open && !lab.open.carry;
      lab.open[name] = d.open;
      if (asked) lab.ask(); // computed only while it is looked at
    };
  });
  lab.mini.replaceChildren(
    el("b", "num", s.score.value === null ? "S n/a" : `S ${num(s.score.value, 3)}`),
    el("span", "ci", s.score.value === null ? "" : ci(s.score)),
    el("span", "mute small", ` \u00b7 latent ${lab.current}`),
  );
}
function twoLines(e, f, mark = "") {
  if (e.value === null) {
    const why = el("span", "mute", "n/a");
    why.title = e.reason;
    return why;
  }
  return el("div", "", f(e.value, 2) + mark, el("div", "ci tiny", ci(e).trim()));
}
function curve(c) {
  const W = 300,
    H = 150,
    L = 30,
    R = 8,
    T = 8,
    B = 28;
  const all = [...c.points, ...(c.you ? [c.you] : [])];
  const ys = all.flatMap((p) => p.accuracy.ci || [p.accuracy.value]).concat([c.base, c.oracle]);
  const lo = Math.floor(20 * Math.min(...ys)) / 20,
    hi = Math.min(1, Math.ceil(20 * Math.max(...ys)) / 20);
  const top = Math.max(...all.map((p) => p.n), 1),
    x = (n) => L + ((W - L - R) * Math.log1p(n)) / Math.log1p(top);
  const y = (v) => T + ((H - T - B) * (hi - v)) / Math.max(0.01, hi - lo);
  const s = svg("svg", {
    viewBox: `0 0 ${W} ${H}`,
    role: "img",
    "aria-label": "Target accuracy of the biased probe against the number of ablated latents",
  });
  const text = (t, px, py, anchor = "middle", extra = {}) => {
    const n = svg("text", { x: px, y: py, "text-anchor": anchor, ...extra });
    n.textContent = t;
    s.append(n);
  };
  const tip = (node, t) => {
    const n = svg("title", {});
    n.textContent = t;
    node.append(n);
    return node;
  };
  const ticks = [lo, (lo + hi) / 2, hi];
  for (const v of ticks) {
    s.append(svg("line", { x1: L, x2: W - R, y1: y(v), y2: y(v), stroke: "currentColor", "stroke-opacity": 0.12 }));
    text(v.toFixed(2), L - 4, y(v) + 3.5, "end");
  }
  let last = -99;
  for (const p of c.points)
    if (x(p.n) - last > 17) {
      text(String(p.n), x(p.n), H - B + 12);
      last = x(p.n);
    }
  text("latents ablated (N, log scale)", (L + W - R) / 2, H - 2);
  for (const [v, name, dash] of [
    [c.oracle, "oracle", "5 3"],
    [c.base, "base", "2 3"],
  ]) {
    s.append(
      tip(
        svg("line", {
          x1: L,
          x2: W - R,
          y1: y(v),
          y2: y(v),
          stroke: "currentColor",
          "stroke-opacity": 0.6,
          "stroke-dasharray": dash,
        }),
        `${name} ${num(v)}`,
      ),
    );
    text(name, W - R, y(v) - 3, "end");
  }
  const band = c.points.filter((p) => p.accuracy.ci);
  if (band.length)
    s.append(
      svg("polygon", {
        points: [
          ...band.map((p) => `${x(p.n)},${y(p.accuracy.ci[1])}`),
          ...band.reverse().map((p) => `${x(p.n)},${y(p.accuracy.ci[0])}`),
        ].join(" "),
        fill: "var(--keep)",
        "fill-opacity": 0.16,
      }),
    );
  s.append(
    svg("polyline", {
      points: c.points.map((p) => `${x(p.n)},${y(p.accuracy.value)}`).join(" "),
      fill: "none",
      stroke: "var(--keep)",
      "stroke-width": 1.8,
    }),
  );
  for (const p of c.points)
    s.append(
      tip(
        svg("circle", { cx: x(p.n), cy: y(p.accuracy.value), r: p.n === c.n ? 4 : 2.6, fill: "var(--keep)" }),
        `top ${p.n}: accuracy ${est(p.accuracy)}, S ${est(p.score)}`,
      ),
    );
  if (c.you) {
    const px = x(c.you.n),
      py = y(c.you.accuracy.value),
      k = c.you.accuracy.ci;
    if (k)
      s.append(svg("line", { x1: px, x2: px, y1: y(k[0]), y2: y(k[1]), stroke: "var(--ablate)", "stroke-width": 1.5 }));
    s.append(
      tip(
        svg("rect", {
          x: px - 4.5,
          y: py - 4.5,
          width: 9,
          height: 9,
          transform: `rotate(45 ${px} ${py})`,
          fill: "var(--ablate)",
        }),
        `this set, ${c.you.n} latents: accuracy ${est(c.you.accuracy)}`,
      ),
    );
    text("you", px + 8, py + 3, "start", { style: "fill:var(--ablate);font-weight:600" });
  }
  return s;
}
