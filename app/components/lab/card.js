// Evidence card of one latent. Numbers with their meaning in the title; contexts coloured by activation.
import { button, details, el, est, num, percent, sci, signed, svg, table } from "../common/dom.js";

const DECIDED = { ablate: "ABLATE", keep: "KEEP", unsure: "UNSURE" };

const SHADES = [0, 1, 2, 3].map((quadrant) => `var(--quadrant-${quadrant})`);

function fact(label, value, hint) {
  const f = el("div", "fact", el("span", "", label), el("b", "", value));
  if (hint) f.title = hint;
  return f;
}
function tokens(row, max) {
  const line = el("div", "ctx");
  line.dir = "auto";
  row.t.forEach((text, i) => {
    const a = row.a[i],
      s = el("span", "", text);
    if (a) {
      const share = Math.min(1, Math.abs(a) / max);
      s.style.background = `rgba(var(--hot),${(0.1 + 0.75 * share).toFixed(2)})`;
      if (i === row.peak) s.className = "peak";
    }
    s.title = a ? `activation ${num(a, 3)}` : "not active";
    line.append(s);
  });
  line.title = row.where;
  return line;
}
function contextGroup(g, max) {
  const head = el("div", "head", el("span", "", g.title), el("span", "mute small", g.note));
  const box = el("div", "group", head);
  if (!g.rows.length) box.append(el("div", "mute small", "no stored context"));
  g.rows.forEach((r) => box.append(tokens(r, max)));
  return box;
}
function bars(h, names, label) {
  // Stacked bars: one shade per quadrant.
  const W = 220,
    H = 66,
    n = h.counts.length,
    top = Math.max(...h.counts.map((c) => c.reduce((a, b) => a + b, 0)), 1),
    w = W / n;
  const s = svg("svg", { viewBox: `0 0 ${W} ${H + 14}`, role: "img", "aria-label": label });
  h.counts.forEach((c, i) => {
    let y = H;
    c.forEach((k, q) => {
      const dy = (k / top) * (H - 4);
      y -= dy;
      const r = svg("rect", { x: i * w + 0.6, y, width: Math.max(0.5, w - 1.2), height: dy, fill: SHADES[q] });
      const t = svg("title", {});
      t.textContent = `${names[q]}: ${k} from ${sci(h.edges[i])}`;
      r.append(t);
      s.append(r);
    });
  });
  s.append(svg("line", { x1: 0, x2: W, y1: H, y2: H, stroke: "currentColor", "stroke-opacity": 0.35 }));
  const a = svg("text", { x: 0, y: H + 12 }),
    b = svg("text", { x: W, y: H + 12, "text-anchor": "end" });
  a.textContent = sci(h.edges[0]);
  b.textContent = sci(h.edges[h.edges.length - 1]);
  s.append(a, b);
  return s;
}
// A token of nothing but white space is still a token.
const visibleSpace = (text) => text.replaceAll(" ", "\u2423").replaceAll("\n", "\u23ce").replaceAll("\t", "\u21e5");

function chips(list, limit = 10) {
  const box = el("div", "chips");
  for (const [text, v] of list.slice(0, limit)) {
    const c = el("span", "chip", text.trim() ? text : visibleSpace(text));
    c.title = signed(v, 3);
    box.append(c);
  }
  return box;
}
export function drawCard(lab) {
  const box = lab.parts.card,
    id = lab.current,
    card = lab.cards.get(id);
  if (id === null) {
    box.replaceChildren(el("h3", "", "Latent"), el("div", "mute", "No latent has an effect on this probe."));
    return;
  }
  const d = lab.decisions[id],
    row = lab.byId.get(id);
  const badge = d ? el("span", `badge ${d}`, DECIDED[d]) : el("span", "mute small", "undecided");
  lab.badge = badge;
  const title = el(
    "div",
    "title",
    el("b", "num", `latent ${id}`),
    el("span", "what", (card && card.what) || (row && row.what) || ""),
    badge,
  );
  if (!card) {
    box.replaceChildren(title, el("div", "mute", "loading\u2026"));
    lab.share = null;
    return;
  }
  const facts = el(
    "div",
    "facts",
    fact(
      "carries: spurious-label probe",
      sci(card.attribute),
      "logit difference that it carries: I = (mean on positives \u2212 mean on negatives) \u00d7 D\u00b7w, on the probe's training texts",
    ),
    fact("carries: biased probe (C_b)", sci(card.base), "the same for C_b, the probe whose accuracy S measures"),
    fact("density", percent(card.density), "share of all recorded tokens on which the latent is active"),
  );
  lab.share = el("div", "facts");
  const parts = [title];
  if (card.by) parts.push(el("div", "mute small", card.by));
  if (card.page.startsWith("https://")) parts.push(outside("Neuronpedia", card.page));
  parts.push(facts, lab.share);
  drawShare(lab);
  const reason = el("input", "tool");
  reason.placeholder = "reason (saved with the next decision)";
  reason.style.width = "100%";
  reason.setAttribute("aria-label", "Reason for the next decision");
  reason.value = lab.reason;
  reason.oninput = () => {
    lab.reason = reason.value;
  };
  if (!lab.solo) parts.push(reason);
  if (card.promoted.length || card.suppressed.length)
    parts.push(
      el(
        "div",
        "two",
        el("div", "", el("h4", "", "promotes"), chips(card.promoted)),
        el("div", "", el("h4", "", "suppresses"), chips(card.suppressed)),
      ),
    );
  else if (card.noTokens) parts.push(el("div", "mute small", card.noTokens));
  parts.push(el("h4", "", "In the task's own texts, by quadrant"));
  card.quadrants.forEach((g) => parts.push(contextGroup(g, card.max)));
  if (card.general) {
    parts.push(el("h4", "", card.general.title));
    card.general.groups.forEach((g) => parts.push(contextGroup(g, card.general.max)));
  } else if (card.noGeneral) parts.push(el("div", "how", card.noGeneral));
  const hist = el("div", "two");
  if (card.hist)
    hist.append(
      el(
        "div",
        "",
        el("h4", "", "activation where it fires (dev texts)"),
        bars(card.hist, card.names, "Histogram of pooled activation by quadrant"),
        el("div", "how", "texts per bin, pooled activation; colours are quadrants, in the order above"),
      ),
    );
  if (card.logits)
    hist.append(
      el(
        "div",
        "",
        el("h4", "", "effect on output tokens"),
        bars(card.logits, ["tokens"], "Histogram of logit effects"),
        el("div", "how", "vocabulary tokens per bin of cosine(D, W_U)"),
      ),
    );
  parts.push(hist);
  const near = el("div", "two");
  const links = (list, what) => {
    const b = el("div");
    for (const [i, v, text] of list) {
      const l = button("link num", String(i), () => lab.go(i));
      b.append(el("div", "small", l, ` ${v.toFixed(2)} `, el("span", "mute", text)));
    }
    if (!list.length) b.append(el("div", "mute small", what));
    return b;
  };
  near.append(
    el("div", "", el("h4", "", "nearest decoder rows (cosine)"), links(card.neighbours, "none")),
    el("div", "", el("h4", "", "active on the same texts (cosine)"), links(card.together, "none")),
  );
  parts.push(near);
  if (card.verdicts.length) parts.push(details("verdicts", false, table(["rater", "rating", "reason"], card.verdicts)));
  if (card.history && card.history.length)
    parts.push(
      details(
        `decisions on this latent (${card.history.length})`,
        false,
        table(["when", "who", "change", "reason"], card.history),
      ),
    );
  const top = box.scrollTop;
  box.replaceChildren(...parts);
  box.scrollTop = top;
}
export function drawBadge(lab) {
  const d = lab.decisions[lab.current];
  if (!lab.badge) return;
  lab.badge.className = d ? `badge ${d}` : "mute small";
  lab.badge.textContent = d ? DECIDED[d] : "undecided";
}
export function drawShare(lab) {
  if (!lab.share) return;
  const s = lab.shares && lab.shares.latent === lab.current ? lab.shares : null;
  if (lab.solo && !s) {
    lab.share.replaceChildren();
    return;
  }
  lab.share.replaceChildren(
    fact("S alone", s ? est(s.solo) : "\u2026", "S_SHIFT on dev when this latent alone is ablated"),
    fact(
      !s ? "S if toggled" : s.inside ? "S lost if toggled" : "S gained if toggled",
      s ? est(s.change, 2, signed) : "\u2026",
      s && s.inside
        ? "S of the set minus S without this latent, same resamples"
        : "S of the set with this latent minus S without it, same resamples",
    ),
  );
}

// A link to another site, which learns nothing of this page.
function outside(label, address) {
  const a = el("a", "small", label);
  a.href = address;
  a.target = "_blank";
  a.rel = "noopener noreferrer";
  return el("div", "", a);
}
