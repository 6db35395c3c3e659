// Queue of candidate latents: filter, sort, select, decide in bulk. All of it here, so none of it waits for the server.
import { button, el, percent, sci } from "../common/dom.js";

const ADVANCE = "saeeval.advance";
const MOST = 4;

const LETTER = { ablate: "A", keep: "K", unsure: "?" };
const SORTS = {
  rank: ["rank", (a, b) => a.rank - b.rank],
  effect: ["effect, largest first", (a, b) => b.effect - a.effect],
  effectup: ["effect, smallest first", (a, b) => a.effect - b.effect],
  density: ["density, rarest first", (a, b) => a.density - b.density],
  spurious: ["rating of the spurious label", (a, b) => (b.spurious ?? -1) - (a.spurious ?? -1)],
  target: ["rating of the target", (a, b) => (b.target ?? -1) - (a.target ?? -1)],
  alike: ["near-duplicates together", (a, b) => b.group.length - a.group.length || a.group[0] - b.group[0]],
  decision: ["decision", (a, b, d) => (LETTER[d[a.id]] || "~").localeCompare(LETTER[d[b.id]] || "~")],
  id: ["id", (a, b) => a.id - b.id],
};
const FILTERS = { all: "all", todo: "undecided", ablate: "ablated", keep: "kept", unsure: "unsure" };

export function buildQueue(lab) {
  const filter = el("input"),
    show = el("select"),
    sort = el("select"),
    advance = el("input");
  filter.type = "search";
  filter.placeholder = "search: words or id";
  filter.setAttribute("aria-label", "Search latents by words or id");
  filter.title = "Every word must be found: in the explanation, what it was rated for, its tokens, or as the id";
  show.setAttribute("aria-label", "Show decisions");
  sort.setAttribute("aria-label", "Sort the queue");
  for (const [k, v] of Object.entries(FILTERS)) show.append(new Option(v, k));
  for (const [k, v] of Object.entries(SORTS)) sort.append(new Option(v[0], k));
  filter.oninput = show.onchange = sort.onchange = () => drawQueue(lab);
  advance.type = "checkbox";
  advance.id = "advance";
  advance.checked = localStorage.getItem(ADVANCE) !== "0";
  advance.onchange = () => localStorage.setItem(ADVANCE, advance.checked ? "1" : "0");
  const label = el("label", "small mute", advance, " move on after deciding");
  label.title = "After a decision the next latent is shown; remembered in this browser";
  const list = el("div", "scroll"),
    bulk = el("div"),
    count = el("span", "mute");
  list.tabIndex = 0;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Candidate latents");
  const acts = actions(lab);
  lab.parts.queue.append(
    el("h3", "", "Queue ", count, label),
    el("div", "tools", filter, show),
    el("div", "tools", sort, el("span")),
    bulk,
    list,
    acts,
  );
  lab.q = { filter, show, sort, list, bulk, count, advance, rows: new Map(), picked: new Set(), order: [], at: 0 };
}
export function actions(lab) {
  const box = el("div", "acts");
  for (const [key, d, label] of [
    ["A", "ablate", "Ablate"],
    ["K", "keep", "Keep"],
    ["U", "unsure", "Unsure"],
  ])
    box.append(button(d, label, () => lab.decide(d), key));
  box.append(button("", "Undo", () => lab.undo(), "Z"));
  return box;
}
function visible(lab) {
  const { filter, show, sort } = lab.q,
    asked = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const d = lab.decisions;
  return lab.queue
    .filter((r) => {
      if (show.value === "todo" ? d[r.id] : show.value !== "all" && d[r.id] !== show.value) return false;
      return finds(asked, r);
    })
    .sort((a, b) => SORTS[sort.value][1](a, b, d) || a.rank - b.rank);
}
// As app/services/searched.py does; besides, what the row shows of a latent without an explanation: its tokens.
function finds(asked, r) {
  const words = `${r.words} ${r.what}`.toLowerCase(),
    own = words.split(/\s+/);
  const found = (w) => (/^\d+$/.test(w) ? own.includes(w) : words.includes(w));
  return asked.every((w) => w.replace(/^#/, "") === String(r.id) || found(w));
}
function pick(q, id, on) {
  if (on) q.picked.add(id);
  else q.picked.delete(id);
}
export function drawQueue(lab) {
  const q = lab.q,
    rows = visible(lab),
    nodes = [];
  const head = el("div", "qrow qhead");
  const all = el("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select all shown");
  all.checked = rows.length > 0 && rows.every((r) => q.picked.has(r.id));
  all.onchange = () => {
    for (const r of rows) pick(q, r.id, all.checked);
    drawQueue(lab);
  };
  head.append(all, el("span", "", "explanation, ratings, effect"), el("span", "", "you"));
  nodes.push(head);
  q.rows.clear();
  const widest = Math.max(...lab.queue.map((r) => Math.abs(r.effect)), Number.MIN_VALUE);
  for (const r of rows) {
    const row = queueRow(lab, r, Math.abs(r.effect) / widest);
    nodes.push(row);
    q.rows.set(r.id, row);
  }
  q.order = rows.map((r) => r.id);
  q.list.replaceChildren(...nodes);
  q.count.textContent =
    rows.length === lab.queue.length ? `(${rows.length})` : `(${rows.length} of ${lab.queue.length})`;
  drawBulk(lab);
  markQueue(lab);
}

// Two lines: what the latent is about; its id, what the judge rated, how much it carries.
function queueRow(lab, r, share) {
  const box = el("input");
  box.type = "checkbox";
  box.tabIndex = -1;
  box.checked = lab.q.picked.has(r.id);
  box.setAttribute("aria-label", `Select latent ${r.id}`);
  box.onclick = (e) => {
    e.stopPropagation();
    pick(lab.q, r.id, box.checked);
    drawBulk(lab);
  };
  const bar = el("span", "effect", el("i"));
  bar.firstChild.style.width = `${(100 * share).toFixed(1)}%`;
  const facts = el("span", "facts2", el("span", "id", r.id), ...ratings(lab, r), bar);
  if (r.group.length > 1) facts.append(alike(lab, r));
  const what = el("span", r.what ? "what" : "what mute", r.what || `active on ${percent(r.density)} of tokens`);
  const row = el("div", "qrow num", box, el("span", "two", what, facts), el("span", "dec"));
  row.title =
    `${r.what}\nlatent ${r.id}, place ${r.rank}: carries ${sci(r.effect)} of the logit difference, ` +
    `active on ${percent(r.density)} of tokens` +
    (r.verdictText ? `\njudge: ${r.verdictText}` : "");
  row.dataset.latent = r.id;
  row.setAttribute("role", "option");
  row.onclick = () => lab.go(r.id);
  return row;
}

// Dots out of four for each label, in the colour that the label has on the whole page.
function ratings(lab, r) {
  if (r.target === null && r.spurious === null)
    return r.verdictText ? [el("span", "mute", r.verdictText)] : [el("span", "mute", "not judged")];
  return [
    ["spurious", lab.says.spurious, r.spurious],
    ["target", lab.says.target, r.target],
  ]
    .filter(([, , n]) => n !== null)
    .map(([cls, name, n]) => {
      const dots = el("span", `dots ${cls}`, "\u25cf".repeat(n), el("i", "", "\u25cb".repeat(MOST - n)));
      dots.setAttribute("aria-label", `${name}: ${n} of ${MOST}`);
      dots.title = `${name}: rated ${n} of ${MOST}`;
      return dots;
    });
}

// Near-duplicates are selected together, so that one press on the bar decides them all.
function alike(lab, r) {
  const chip = button("link alike", `\u2248 ${r.group.length} alike`, () => {
    const on = !r.group.every((id) => lab.q.picked.has(id));
    for (const id of r.group) pick(lab.q, id, on);
    drawQueue(lab);
  });
  chip.tabIndex = -1;
  chip.title = `Active on the same texts: ${r.group.join(", ")}. Select all, then decide once.`;
  return chip;
}
export function markQueue(lab) {
  const at = lab.q.order.indexOf(lab.current);
  if (at >= 0) lab.q.at = at;
  lab.q.list.children[lab.q.at + 1]?.classList.toggle("gone-here", at < 0);
  for (const [id, row] of lab.q.rows) {
    const d = lab.decisions[id],
      cell = row.lastChild,
      text = LETTER[d] || "";
    if (cell.textContent !== text) {
      cell.textContent = text;
      cell.className = "dec " + (d || "");
    }
    const here = id === lab.current;
    if (row.classList.contains("here") !== here) {
      row.classList.toggle("here", here);
      row.setAttribute("aria-selected", here);
    }
  }
}
// The latent `by` steps from the current one. One that the filter hides since it was decided keeps its place.
export function nextTo(lab, by) {
  const { order, at } = lab.q,
    now = order.indexOf(lab.current);
  if (now < 0 && !order.length) return null;
  const place = now < 0 ? (by > 0 ? at + by - 1 : at + by) : now + by;
  return order[Math.min(order.length - 1, Math.max(0, place))];
}
export function reveal(lab) {
  const row = lab.q.rows.get(lab.current),
    list = lab.q.list;
  if (!row) return;
  const top = row.offsetTop - list.offsetTop; // by hand: scrollIntoView would move the page too
  if (top - 30 < list.scrollTop) list.scrollTop = Math.max(0, top - 60);
  else if (top + 60 > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight + 80;
}
function drawBulk(lab) {
  const q = lab.q,
    ids = [...q.picked];
  if (!ids.length) {
    q.bulk.replaceChildren();
    return;
  }
  const box = el("div", "bulk row", `${ids.length} selected:`);
  for (const [d, label] of [
    ["ablate", "Ablate"],
    ["keep", "Keep"],
    ["unsure", "Unsure"],
    ["none", "Clear"],
  ])
    box.append(
      button(d, label, () => {
        lab.decide(d, ids);
        q.picked.clear();
        drawQueue(lab);
      }),
    );
  box.append(
    button("", "Deselect", () => {
      q.picked.clear();
      drawQueue(lab);
    }),
  );
  q.bulk.replaceChildren(box);
}
