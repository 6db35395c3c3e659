// Is the concept gone? What fresh probes still read after the set on screen was ablated. It comes after the score.
import { button, details, el, est, num, sci, table, twoLines } from "../common/dom.js";
import { atAlpha } from "./alpha.js";

export function drawGone(lab) {
  const g = lab.gone,
    box = el("div", "gone");
  box.dataset.testid = "gone";
  box.dataset.pending = g.pending;
  box.append(el("h4", "", `Is it gone? What a fresh probe still reads${atAlpha(lab.score.alpha)}`));
  if (g.pending) box.append(el("div", "mute small", "reading\u2026"));
  else if (g.problem) box.append(el("div", "mute small", g.problem));
  else {
    const row = (label, e, cls = "") => ({ cls, cells: [label, est(e, 2, num)] });
    box.append(
      table(
        ["", ""],
        [
          row(`${g.spurious}, nothing ablated`, g.clean),
          row("old probe after ablation", g.old),
          row("fresh probe after ablation", g.fresh),
          row(`still readable, R of ${g.spurious}`, g.recoverability, "mine"),
          row(`still readable, R of ${g.target}`, g.recoverabilityTarget),
          row("selective erasure, E", g.erasure, "mine"),
        ],
        [1],
      ),
      el("p", "how", g.how),
      opening(lab, "parts", "where it survived", survived(g), () => lab.ask()),
    );
    if (g.carriers.length) box.append(opening(lab, "carriers", "still carried by", [carried(lab, g)]));
  }
  return box;
}

// Details that stay open at every redraw; `asks`: what they show is read only while somebody looks.
function opening(lab, name, title, inside, asks = null) {
  const box = details(title, lab.open[name], ...inside);
  box.dataset.testid = name;
  box.ontoggle = () => {
    const first = box.open && !lab.open[name];
    lab.open[name] = box.open;
    if (first && asks) asks();
  };
  return box;
}

function survived(g) {
  const s = g.survived;
  if (!s || s.pending) return [el("div", "mute small", "reading\u2026")];
  const rows = s.parts.map((p) => [p.name, twoLines(p.fresh, num), twoLines(p.recoverability, num)]);
  const out = [];
  if (rows.length)
    out.push(
      table(["part of the ablated residuals", "fresh probe", "R"], rows, [1, 2]),
      el(
        "p",
        "how",
        `Balanced accuracy of a fresh probe of ${g.spurious} on each part alone. The parts add up to the residuals; ` +
          "what is read of them need not, as the same may stand in two.",
      ),
    );
  if (s.missing) out.push(el("p", "how", s.missing));
  return out;
}

function carried(lab, g) {
  const rows = g.carriers.map(([id, v]) => [
    button("link num", String(id), () => lab.go(id)),
    lab.byId.get(id)?.what ?? "",
    sci(v),
  ]);
  return table(["latent", "explanation", "attribution"], rows, [2]);
}
