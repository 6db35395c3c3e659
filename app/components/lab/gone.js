// Is the concept gone? What fresh probes still read after the set on screen was ablated. It comes after the score.
import { button, details, el, est, num, sci, table } from "../common/dom.js";

const CARRIED = "still carried by";

export function drawGone(lab) {
  const g = lab.gone,
    box = el("div", "gone");
  box.dataset.testid = "gone";
  box.dataset.pending = g.pending;
  box.append(el("h4", "", "Is it gone? What a fresh probe still reads"));
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
    );
    if (g.carriers.length) {
      const carried = details(
        CARRIED,
        lab.open.carriers,
        table(
          ["latent", "attribution"],
          g.carriers.map(([id, v]) => [button("link num", String(id), () => lab.go(id)), sci(v)]),
          [1],
        ),
      );
      carried.ontoggle = () => (lab.open.carriers = carried.open);
      box.append(carried);
    }
  }
  return box;
}
