// Score card: everything that answers a decision.
import { button, ci, details, el, est, num, plural, signed, table, twoLines } from "../common/dom.js";
import { atAlpha, drawAlpha } from "./alpha.js";
import { drawAccuracy, drawErased } from "./curve.js";
import { drawGone } from "./gone.js";

const CARRY = "most important latents (S lost without each)";
const WORDS = "what these words mean";
const LOG = "decision log";
const CURVE = "as a table";

function line(label, e, hint, f) {
  const tr = el("tr", "", el("td", "", label), el("td", "right", est(e, 2, f)));
  if (hint) tr.title = hint;
  return tr;
}
// A short name with what it stands for: on hover, and to a keyboard or a reader of screens as well.
function hinted(name, hint) {
  const short = el("abbr", "", name);
  short.title = hint;
  short.tabIndex = 0;
  short.setAttribute("aria-label", `${name} (${hint})`);
  return short;
}
export function drawScore(lab) {
  const s = lab.score,
    record = lab.record,
    box = lab.parts.score;
  const big = el("div", "big", s.score.value === null ? "n/a" : num(s.score.value, 3));
  big.id = "score";
  big.setAttribute("aria-live", "polite");
  big.dataset.testid = "score";
  const head = [el("h3", "", `S_SHIFT, ${s.part}`, el("span", "at", atAlpha(s.alpha))), big];
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
  const erased = new Map(lab.erased.points.map((p) => [p.n, p]));
  const left = el(
    "div",
    "",
    facts,
    el("p", "how", s.how),
    drawGone(lab),
    el("h4", "", `Accuracy against N, ranked by attribution${atAlpha(s.alpha)}`),
    drawAccuracy(s.curve),
    el("h4", "", `S and selective erasure E${atAlpha(s.alpha)}`),
    drawErased(lab),
    details(WORDS, lab.open.words, ...meanings()),
    details(
      CURVE,
      lab.open.curve,
      table(
        ["N", "accuracy", "S", "E", "edit size"],
        s.curve.points.map((p) => [
          p.n,
          est(p.accuracy),
          est(p.score),
          erased.has(p.n) ? est(erased.get(p.n).erasure) : "",
          erased.has(p.n) ? num(erased.get(p.n).editSize) : "",
        ]),
        [1, 2, 3, 4],
      ),
    ),
  );
  const rows = s.sets.map((r) => ({
    cls: r.mine ? "mine" : "",
    cells: [
      r.hint ? hinted(r.name, r.hint) : r.name,
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
              ["latent", "S lost without it"],
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
  right.append(
    commit,
    el(
      "p",
      "how",
      "All above is dev: texts that you choose on, so a score here flatters the set. Commit scores it once on test texts " +
        "that nobody has chosen on, and keeps how many different dev scores were looked at before.",
    ),
    el("p", "how", `Different dev scores of this set that have been shown: ${record.looks}.`),
  );
  for (const c of record.commits)
    right.append(
      el(
        "div",
        "note small",
        el("b", "", `test ${c.text}`),
        el("div", "", c.gone),
        `${plural(c.n, "latent")}, after ${c.looks} \u00b7 ${c.who}, ${c.at}`,
        c.stale ? el("div", "mute", "the set has changed since") : null,
      ),
    );
  if (record.log.length)
    right.append(details(LOG, lab.open.log, table(["when", "who", "latent", "change"], record.log)));
  if (s.alpha !== 1) right.append(el("p", "how", "The commit is of the whole ablation, \u03b1 = 1."));
  keepFocus(box, () => {
    lab.scoreHead.replaceChildren(...head);
    lab.scoreBody.replaceChildren(left, right);
  });
  drawAlpha(lab);
  const names = { [CARRY]: "carry", [LOG]: "log", [CURVE]: "curve", [WORDS]: "words" };
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
    el("b", "num", s.score.value === null ? "S n/a" : `S ${num(s.score.value, 3)}${atAlpha(s.alpha)}`),
    el("span", "ci", s.score.value === null ? "" : ci(s.score)),
    el("span", "mute small", ` \u00b7 latent ${lab.current}`),
  );
}
const meanings = () =>
  [
    "Quadrant: one of the four combinations of both labels. Every quadrant counts a quarter of an accuracy.",
    "Base: the biased probe (C_b), trained where the two labels always agree. Oracle: trained where they do not.",
    "Leakage: how far C_b's answer still tells the spurious label; 0 not at all, .5 always.",
    "Gap: oracle minus base, what there is to repair. Where it is not surely above 0, S is not defined.",
    "Dev look: another dev score of this set that was shown.",
  ].map((text) => el("p", "how", text));

// Redraw without taking the keyboard's focus away from a button or heading that is drawn again.
function keepFocus(box, draw) {
  const focusable = () => [...box.querySelectorAll("button, summary")];
  const at = focusable().indexOf(box.getRootNode().activeElement),
    was = at < 0 ? null : focusable()[at].textContent;
  draw();
  if (was === null) return;
  const same = focusable().filter((n) => n.textContent === was);
  (same.length ? same[0] : null)?.focus({ preventScroll: true });
}
