// The lab: one component, so that a decision costs one fragment run and one redraw of what changed.
// A press is shown at once and lands in the set on screen when it was made; see common/press.js.
import { button, el } from "../common/dom.js";
import { pageKey } from "../common/keys.js";
import { complain, hear, makeLine, onTheirWay, overlay, press, resend, send } from "../common/press.js";
import { skipTo } from "../common/skip.js";
import { isDark } from "../common/theme.js";
import { makeAlpha } from "./alpha.js";
import { drawBadge, drawCard, drawShare } from "./card.js";
import { makeHelp } from "./help.js";
import { actions, buildQueue, drawQueue, markQueue, nextTo, reveal } from "./queue.js";
import { drawSays } from "./says.js";
import { drawScore } from "./score.js";
import { expectUndo, tellUndo } from "./undone.js";

const LABS = new WeakMap();
const OTHERS_MS = 3000;
// A page that comes back after the server's restart takes many seconds on a busy machine.
const LEAVES_MS = 30000;
const SILENT_MS = 1500;
// The lab that was drawn last. Of the page, as a new drawing may come with a new copy of this module.
const HERE = (window.saeevalLab ??= { lab: null });
const ACTS = { a: "ablate", k: "keep", u: "unsure" };
const MOVES = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".lab");
  let lab = LABS.get(root);
  if (!lab) LABS.set(root, (lab = takeOver(root) ?? makeLab(root)));
  HERE.lab = lab;
  lab.path = location.pathname;
  receive(lab, data, setTriggerValue);
  listenToKeys(lab);
  return () => leave(lab, root);
}

// This module's function runs again at every redraw, its cleanup only when the lab leaves the page: listen once.
function listenToKeys(lab) {
  clearTimeout(lab.leaving);
  if (lab.stop) return;
  const key = (e) => onKey(lab, e);
  const elsewhere = (e) => waitForOthers(lab, e);
  const unskip = skipTo("the queue of latents", () => lab.q.list);
  document.addEventListener("keydown", key);
  document.addEventListener("pointerdown", elsewhere, true);
  document.addEventListener("keydown", elsewhere, true);
  lab.stop = () => {
    document.removeEventListener("keydown", key);
    document.removeEventListener("pointerdown", elsewhere, true);
    document.removeEventListener("keydown", elsewhere, true);
    clearTimeout(lab.asksAgain);
    unskip();
    lab.line.stop?.();
    lab.stop = null;
  };
}

// Streamlit may take the lab out of the page and draw another one at once, as when a press comes while the whole page
// runs. Until it is clear that the lab is left, keys act on it, so that none is lost in between.
function leave(lab, root) {
  if (lab.root !== root) return; // its place was taken over already
  clearTimeout(lab.leaving);
  lab.leaving = setTimeout(() => {
    lab.stop?.();
    if (HERE.lab === lab) HERE.lab = null;
  }, LEAVES_MS);
}

// The lab that was taken out, with all it shows, in its new place; null where there is none.
function takeOver(root) {
  const lab = HERE.lab;
  if (!lab?.stop || lab.root.isConnected || lab.path !== location.pathname) return null;
  const { field } = lab;
  root.replaceChildren(...lab.root.childNodes);
  lab.root = lab.line.root = root;
  field?.focus({ preventScroll: true });
  reveal(lab);
  return lab;
}

// Keys belong to the lab on screen, to one just taken out until the next comes, and never to a field that went with it.
function listens(lab) {
  if (HERE.lab !== lab) return false;
  return lab.root.isConnected || (lab.path === location.pathname && !lab.field);
}

// Keys act on the current latent and never scroll the page.
function onKey(lab, e) {
  const name = pageKey(e);
  if (name === null || !listens(lab) || lab.help.open) return;
  if (name in MOVES) {
    e.preventDefault();
    step(lab, MOVES[name]);
    return;
  }
  if (e.repeat) return;
  if (name === "?") {
    e.preventDefault();
    lab.showKeys();
  } else if (lab.present) {
    return; // a slip in a talk must not change the record
  } else if (name in ACTS) {
    e.preventDefault();
    lab.decide(ACTS[name]);
  } else if (name === "z") {
    e.preventDefault();
    lab.undo();
  } else if (name === "/") {
    e.preventDefault();
    lab.q.filter.focus({ preventScroll: true });
  }
}

// A question of ours that followed a click on a link or a control at once would take its place in Streamlit's queue.
function waitForOthers(lab, e) {
  const press = e.type === "pointerdown" || e.key === "Enter" || e.key === " ";
  if (!press || !waitsForReading(lab) || e.composedPath().includes(lab.root)) return;
  clearTimeout(lab.asksAgain);
  lab.asksAgain = setTimeout(() => askAgain(lab), OTHERS_MS);
}

function makeLab(root) {
  const parts = {
    says: el("section", "panel says"),
    queue: el("section", "panel queue"),
    card: el("section", "panel card"),
    score: el("section", "panel score"),
  };
  parts.says.setAttribute("aria-label", "What to do");
  parts.queue.setAttribute("aria-label", "Queue");
  parts.card.setAttribute("aria-label", "Evidence");
  parts.score.setAttribute("aria-label", "Score");
  const lab = {
    root,
    parts,
    scope: null,
    queue: [],
    byId: new Map(),
    stored: {},
    decisions: {},
    current: null,
    cards: new Map(),
    reason: "",
    open: {},
    score: null,
    scoreHead: el("div"),
    scoreBody: el("div", "body"),
    mini: el("span"),
  };
  lab.line = makeLine(root, () => ({
    current: lab.current,
    have: [...lab.cards.keys()],
    queue: lab.queueHash,
    carry: Boolean(lab.open.carry),
    parts: Boolean(lab.open.parts),
    alpha: lab.alphaAsked ?? null,
  }));
  lab.go = (id) => go(lab, id);
  lab.decide = (d, ids) => decide(lab, d, ids);
  lab.undo = () => undo(lab);
  lab.ask = () => send(lab.line);
  lab.commit = () => act(lab, "commit");
  lab.help = makeHelp();
  lab.showKeys = () => lab.help.showModal();
  buildQueue(lab);
  lab.alphaBar = makeAlpha(lab);
  parts.score.append(lab.scoreHead, lab.alphaBar, lab.scoreBody);
  const mini = el(
    "div",
    "mini",
    lab.mini,
    actions(lab),
    el(
      "div",
      "row",
      button("", "\u2190 previous", () => step(lab, -1)),
      button("", "next \u2192", () => step(lab, 1)),
    ),
  );
  root.replaceChildren(parts.says, parts.queue, parts.card, parts.score, mini, lab.help);
  for (const part of Object.values(parts)) noteField(lab, part);
  return lab;
}

// Which field is typed into; it stays the one when it leaves the page with the lab.
function noteField(lab, part) {
  part.addEventListener("focusin", (e) => {
    if (e.target.matches("input, select, textarea")) lab.field = e.target;
  });
  part.addEventListener("focusout", (e) =>
    setTimeout(() => {
      if (lab.field === e.target && lab.root.isConnected) lab.field = null;
    }),
  );
}

function receive(lab, data, trigger) {
  if (data.scope !== lab.scope) {
    // another pair, ranking, set ... : nothing kept here is valid any more
    Object.assign(lab, {
      scope: data.scope,
      cards: new Map(),
      current: null,
      queue: [],
      queueHash: null,
      shares: null,
    });
    if (lab.q) lab.q.picked.clear();
  }
  lab.locked = data.locked;
  lab.present = data.present;
  lab.root.className = "lab" + (data.present ? " present" : "") + (data.locked ? " locked" : "");
  lab.root.dataset.mode = isDark(lab.root) ? "dark" : "light";
  hear(lab.line, data, trigger);
  const newQueue = data.queue && data.queueHash !== lab.queueHash;
  if (newQueue) {
    lab.queue = data.queue.map(([id, rank, what, effect, density, target, spurious, verdictText, alike, words]) => ({
      id,
      rank,
      what,
      effect,
      density,
      target,
      spurious,
      verdictText,
      alike,
      words,
    }));
    lab.queueHash = data.queueHash;
    groupAlike(lab.queue);
    lab.byId = new Map(lab.queue.map((r) => [r.id, r]));
  }
  for (const [id, card] of Object.entries(data.cards)) lab.cards.set(Number(id), card);
  lab.stored = data.decisions;
  drawSays(lab, data.says);
  const before = lab.current;
  if (lab.current === null) lab.current = data.current;
  lab.shares = data.shares;
  lab.decisions = overlay(lab.line, lab.stored);
  if (newQueue || lab.q.show.value !== "all" || lab.q.sort.value === "decision") drawQueue(lab);
  else markQueue(lab);
  if (before !== lab.current || data.cards[lab.current]) {
    drawCard(lab);
    reveal(lab);
  } else {
    drawBadge(lab);
    drawShare(lab);
  }
  lab.score = data.score;
  lab.gone = data.gone;
  lab.erased = data.erased;
  lab.record = data.record;
  drawScore(lab);
  tellUndo(lab);
  lab.parts.score.classList.toggle("busy", onTheirWay() > 0);
  resend(lab.line);
  askAgain(lab);
}

// Every row knows its near-duplicates, itself among them, in the order of the queue.
function groupAlike(rows) {
  const groups = new Map();
  for (const r of rows) groups.set(r.alike, [...(groups.get(r.alike) ?? []), r.id]);
  for (const r of rows) r.group = groups.get(r.alike);
}

const waitsForReading = (lab) => [lab.gone, lab.gone?.survived, lab.erased].some((r) => r?.pending);

// Fresh probes are read in the background: ask for them once nothing is on its way and no key was pressed for a while.
// An answer like the last one draws nothing, so nobody hears of it: then the next question follows without an answer.
function askAgain(lab, least = 0) {
  clearTimeout(lab.asksAgain);
  if (!waitsForReading(lab)) {
    lab.asked = 0;
    return;
  }
  lab.asked = (lab.asked ?? 0) + 1;
  const wait = Math.max(least, Math.min(2000, 200 + 50 * lab.asked));
  lab.asksAgain = setTimeout(() => {
    if (!lab.root.isConnected) return;
    if (onTheirWay() === 0) send(lab.line);
    askAgain(lab, SILENT_MS);
  }, wait);
}

function decide(lab, decision, ids) {
  const latents = ids || (lab.current === null ? [] : [lab.current]);
  if (!latents.length) return;
  const { reason } = lab;
  lab.reason = ""; // the next card begins without one
  const field = lab.parts.card.querySelector("input.tool");
  if (field && !lab.locked) field.value = "";
  const moves = !ids && lab.q.advance.checked;
  const next = moves ? () => nextTo(lab, 1) : undefined;
  if (!act(lab, "decide", { latents, decision, reason }, next)) lab.reason = reason;
}

function undo(lab) {
  if (act(lab, "undo")) expectUndo(lab);
}

// Whether it was sent. `next`: the latent to turn to, told along, because a second message would make the answer to the
// first one wait; the page is drawn while the server works.
function act(lab, kind, what, next) {
  if (lab.locked) {
    complain(lab.locked);
    return false;
  }
  press(lab.line, kind, what);
  lab.decisions = overlay(lab.line, lab.stored);
  const turned = turnTo(lab, next?.());
  send(lab.line);
  markQueue(lab);
  // Drawing takes as long as a frame: the message leaves first.
  if (turned) setTimeout(() => drawTurned(lab));
  else drawBadge(lab);
  lab.parts.score.classList.add("busy");
  return true;
}

// Whether another latent is current now; it is not drawn yet.
function turnTo(lab, id) {
  if (id === null || id === undefined || id === lab.current) return false;
  lab.current = id;
  clearTimeout(lab.soon);
  return true;
}

function drawTurned(lab) {
  lab.parts.card.scrollTop = 0;
  drawCard(lab);
  reveal(lab);
}

function go(lab, id) {
  if (!turnTo(lab, id)) return;
  markQueue(lab);
  drawTurned(lab);
  // Known cards are on screen; the server is told (URL, share of this latent, cards to come) once the keys rest.
  lab.soon = setTimeout(() => send(lab.line), lab.cards.has(id) ? 120 : 0);
}

function step(lab, by) {
  go(lab, nextTo(lab, by));
}
