// Queue of candidate latents: filter, sort, select, decide in bulk. All of it here, so none of it waits for the server.
import { button, el, percent, sci } from "../common/dom.js";

const LETTER = { ablate: "A", keep: "K", unsure: "?" };
const SORTS = {
  rank: ["rank", (a, b) => a.rank - b.rank],
  effect: ["effect, largest first", (a, b) => b.effect - a.effect],
  effectup: ["effect, smallest first", (a, b) => a.effect - b.effect],
  density: ["density, rarest first", (a, b) => a.density - b.density],
  verdict: ["verdict, highest first", (a, b) => (b.verdict ?? -1) - (a.verdict ?? -1)],
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
  filter.placeholder = "filter: words or id";
  filter.setAttribute("aria-label", "Filter latents by words or id");
  show.setAttribute("aria-label", "Show decisions");
  sort.setAttribute("aria-label", "Sort the queue");
  for (const [k, v] of Object.entries(FILTERS)) show.append(new Option(v, k));
  for (const [k, v] of Object.entries(SORTS)) sort.append(new Option(v[0], k));
  filter.oninput = show.onchange = sort.onchange = () => drawQueue(lab);
  advance.type = "checkbox";
  advance.id = "advance";
  advance.checked = localStorage.getItem("saeeval.advance") === "1";
  advance.onchange = () => localStorage.setItem("saeeval.advance", advance.checked ? "1" : "0");
  const label = el("label", "small mute", advance, " move on after deciding");
  const list = el("div", "scroll"),
    bulk = el("div"),
    count = el("span", "mute");
  list.tabIndex = 0;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Candidate latents");
  const acts = actions(lab);
  lab.parts.queue.append(
    el("h3", "", "Queue ", count),
    el("div", "tools", filter, show),
    el("div", "tools", sort, el("span")),
    bulk,
    list,
    acts,
    el("div", "row", label),
    el("div", "how tool", "Keys: A ablate, K keep, U unsure, Z undo; arrows move. Every press is saved at once."),
  );
  lab.q = { filter, show, sort, list, bulk, count, advance, rows: new Map(), picked: new Set() };
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
    words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const d = lab.decisions;
  return lab.queue
    .filter((r) => {
      if (show.value === "todo" ? d[r.id] : show.value !== "all" && d[r.id] !== show.value) return false;
      return words.every((w) => (r.id + " " + r.what).toLowerCase().includes(w));
    })
    .sort((a, b) => SORTS[sort.value][1](a, b, d) || a.rank - b.rank);
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
  head.append(
    all,
    el("span", "right", "#"),
    el("span", "right", "id"),
    el("span", "", "what it says"),
    el("span", "right", "effect"),
    el("span", "", "me"),
  );
  nodes.push(head);
  q.rows.clear();
  for (const r of rows) {
    const box = el("input");
    box.type = "checkbox";
    box.tabIndex = -1;
    box.checked = q.picked.has(r.id);
    box.setAttribute("aria-label", `Select latent ${r.id}`);
    box.onclick = (e) => {
      e.stopPropagation();
      pick(q, r.id, box.checked);
      drawBulk(lab);
    };
    const what = el("span", r.what ? "what" : "what mute", r.what || `fires on ${percent(r.density)} of tokens`);
    if (r.verdictText) what.prepend(el("span", "mute", r.verdictText + " "));
    const row = el(
      "div",
      "qrow num",
      box,
      el("span", "right mute", r.rank),
      el("span", "right", r.id),
      what,
      el("span", "right", sci(r.effect)),
      el("span", "dec"),
    );
    row.title =
      `latent ${r.id}: effect ${sci(r.effect)}, fires on ${percent(r.density)} of tokens` +
      (r.verdictText ? `, verdict ${r.verdictText}` : "");
    row.setAttribute("role", "option");
    row.onclick = () => lab.go(r.id);
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
export function markQueue(lab) {
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
export function reveal(lab) {
  const row = lab.q.rows.get(lab.current),
    list = lab.q.list;
  if (!row) return;
  const top = row.offsetTop - list.offsetTop; // by hand: scrollIntoView would move the page too
  if (top - 30 < list.scrollTop) list.scrollTop = Math.max(0, top - 60);
  else if (top + 40 > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight + 60;
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
