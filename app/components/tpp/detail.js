// Behind the chosen cell: the latents of its row with what each does to this probe, and the texts that flipped.
import { button, el, est, num, sci, signed } from "../common/dom.js";
import { pressed } from "../common/press.js";

export function drawDetail(page) {
  const d = page.data,
    box = page.parts.right,
    x = d.detail;
  box.classList.toggle("stale", d.unexplained);
  page.parts.flips.classList.toggle("stale", d.unexplained);
  if (d.unexplained && page.explained === String(d.cell)) return; // the slider moves: what was there stays until it rests
  page.explained = x ? String(d.cell) : null;
  if (!x) {
    page.parts.flips.hidden = true;
    box.replaceChildren(
      el("h3", "", "Behind a cell"),
      el(
        "p",
        "mute",
        "Choose a cell: which latents were ablated, what each one does to that probe, and which texts changed sides.",
      ),
    );
    return;
  }
  const active = box.getRootNode().activeElement,
    focus = box.contains(active) ? active.dataset.key : null;
  const top = box.querySelector(".rows")?.scrollTop || 0;
  const marks = pressed(page.line, d.classes[d.cell[0]]);
  const head = el(
    "tr",
    "",
    ...["ablate", "latent", "effect", "alone", "if kept"].map((h, k) => {
      const th = el("th", k > 1 ? "right" : "", h);
      th.title = ["is this latent ablated for the class?", "id and explanation", x.effectHow, x.soloHow, x.outHow][k];
      return th;
    }),
  );
  const list = el(
    "div",
    "rows",
    el(
      "table",
      "latents",
      el("thead", "", head),
      el("tbody", "", ...x.latents.map((l) => latentRow(page, l, marks.get(l.id)))),
    ),
  );
  box.replaceChildren(
    el("h3", "", x.title),
    el("p", "sum", x.summary),
    ...(x.anew ? [el("p", "sum", x.anew)] : []),
    list,
    ...(x.more ? [el("p", "mute small", x.more)] : []),
  );
  list.scrollTop = top;
  if (focus) [...box.querySelectorAll("[data-key]")].find((n) => n.dataset.key === focus)?.focus();
  const flips = page.parts.flips;
  flips.hidden = false;
  flips.replaceChildren(
    el("h3", "", x.flipTitle),
    el("p", "mute small", x.flipNote),
    ...(x.offer ? [button("", x.offer, () => page.move({ read: true }))] : []),
    el("div", "rows flips", ...x.flips.map((f) => flipRow(page, f))),
  );
}
function latentRow(page, l, pending) {
  const check = el("input");
  check.type = "checkbox";
  check.checked = pending ? pending === "ablate" || (pending === "none" && l.top) : l.on;
  check.dataset.key = `t${l.id}`;
  check.disabled = page.data.readonly;
  check.setAttribute("aria-label", `ablate latent ${l.id} for ${page.data.classes[page.data.cell[0]]}`);
  // Going back to what the ranking does anyway leaves no mark.
  check.onchange = () => page.toggle(l.id, check.checked ? (l.top ? "none" : "ablate") : l.top ? "keep" : "none");
  const open = el("button", "link", String(l.id));
  open.type = "button";
  open.title = "open this latent";
  open.dataset.key = `o${l.id}`;
  open.onclick = () => page.move({ open: l.id });
  const what = el("span", "what", l.what || "");
  what.title = l.what || "";
  const name = el("td", "", open, l.mark ? el("span", "mark", l.mark) : "", what);
  return el(
    "tr",
    l.on ? "" : "off",
    el("td", "", check),
    name,
    el("td", "right", sci(l.effect)),
    cellOf(l.solo),
    cellOf(l.out),
  );
}
const tidy = (v) => (Math.abs(v) < 0.005 ? "0.00" : num(v, 2));
function cellOf(e) {
  const td = el("td", "right", e && e.value !== null ? signed(e.value, 3) : "n/a");
  if (e && e.ci) td.append(el("i", "ci", `${tidy(e.ci[0])} ${tidy(e.ci[1])}`));
  td.title = e ? est(e, 4) : "only for latents that are ablated";
  return td;
}
function flipRow(page, f) {
  const head = el(
    "div",
    "head",
    el("span", f.wrong ? "down" : "up", f.wrong ? "changed prediction: now wrong" : "changed prediction: now right"),
    el("span", "", `true class ${f.label}`),
    el("span", "num mute", `logit ${num(f.before, 2)} \u2192 ${num(f.after, 2)}`),
  );
  const line = el("div", "ctx");
  line.dir = "auto";
  f.tokens.forEach(([text, value]) => {
    const s = el("span", "", text);
    if (value) {
      const share = Math.min(1, Math.abs(value) / (f.peak || 1));
      s.style.background = `rgba(var(--hot),${(0.15 + 0.7 * share).toFixed(2)})`;
      if (share > 0.5) s.className = "hot";
      s.title = `takes ${num(value, 3)} from the logit`;
    }
    line.append(s);
  });
  const took = el("div", "took small mute");
  f.took.forEach(([id, value]) => {
    const b = el("button", "link", `${id}: ${signed(-value, 2)}`);
    b.type = "button";
    b.onclick = () => page.move({ open: id });
    took.append(b);
  });
  return el("div", "group", head, line, took, ...(f.note ? [el("div", "small mute", f.note)] : []));
}
