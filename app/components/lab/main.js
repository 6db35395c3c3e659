// The lab: one component, so that a decision costs one fragment run and one redraw of what changed.
// A press is shown at once, kept until the server says it is stored, and sent again if no answer comes: none is lost.
const LABS = new WeakMap();
const RESEND_MS = 4000;
// Of the page, not of one drawing of it: a lab that is built anew goes on with what is still on its way.
const OUT = (window.saeevalPresses ??= {
  client: crypto.randomUUID ? crypto.randomUUID() : String(Math.random()),
  seq: 0,
  pending: [],
});

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".lab");
  let lab = LABS.get(root);
  if (!lab) LABS.set(root, (lab = makeLab(root)));
  lab.trigger = setTriggerValue;
  receive(lab, data);
  listen(lab);
  return () => lab.stop?.();
}

// This module's function runs again at every redraw, its cleanup only when the lab leaves the page: listen once.
function listen(lab) {
  if (lab.stop) return;
  const key = (e) => onKey(lab, e),
    seen = () => {
      if (!document.hidden && Date.now() - lab.heard > 2000) send(lab);
    };
  document.addEventListener("keydown", key);
  document.addEventListener("visibilitychange", seen);
  const timer = setInterval(() => {
    if (OUT.pending.length && Date.now() - lab.sent > RESEND_MS) send(lab);
  }, 1000);
  lab.stop = () => {
    document.removeEventListener("keydown", key);
    document.removeEventListener("visibilitychange", seen);
    clearInterval(timer);
    lab.stop = null;
  };
}

function makeLab(root) {
  const parts = {
    queue: el("section", "panel queue"),
    card: el("section", "panel card"),
    score: el("section", "panel score"),
  };
  parts.queue.setAttribute("aria-label", "Queue");
  parts.card.setAttribute("aria-label", "Evidence");
  parts.score.setAttribute("aria-label", "Score");
  const lab = {
    root,
    parts,
    sent: 0,
    heard: Date.now(),
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
    mini: el("span"),
  };
  lab.go = (id) => go(lab, id);
  lab.decide = (d, ids) => decide(lab, d, ids);
  lab.undo = () => act(lab, { kind: "undo" });
  lab.ask = () => send(lab);
  lab.commit = () => act(lab, { kind: "commit" });
  buildQueue(lab);
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
  root.replaceChildren(parts.queue, parts.card, parts.score, mini);
  return lab;
}

function receive(lab, data) {
  lab.heard = Date.now();
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
  lab.readonly = data.readonly;
  lab.solo = data.solo;
  lab.root.className = "lab" + (data.present ? " present" : "") + (data.solo ? " solo" : "");
  lab.root.dataset.mode = dark(lab.root) ? "dark" : "light";
  lab.desk = data.desk;
  const ack = data.ack[OUT.client] ?? 0;
  OUT.pending = OUT.pending.filter((p) => p.seq > ack);
  const newQueue = data.queue && data.queueHash !== lab.queueHash;
  if (newQueue) {
    lab.queue = data.queue.map(([id, rank, what, effect, density, verdict, verdictText]) => ({
      id,
      rank,
      what,
      effect,
      density,
      verdict,
      verdictText,
    }));
    lab.queueHash = data.queueHash;
    lab.byId = new Map(lab.queue.map((r) => [r.id, r]));
  }
  for (const [id, card] of Object.entries(data.cards)) lab.cards.set(Number(id), card);
  lab.stored = data.decisions;
  const before = lab.current;
  if (lab.current === null || data.goto !== lab.goto) lab.current = data.current;
  lab.goto = data.goto;
  lab.shares = data.shares;
  overlay(lab);
  if (newQueue || lab.q.show.value !== "all" || lab.q.sort.value === "decision") drawQueue(lab);
  else markQueue(lab);
  if (before !== lab.current || data.cards[lab.current]) {
    drawCard(lab);
    reveal(lab);
  } else {
    drawBadge(lab);
    drawShare(lab);
  }
  if (data.score) lab.score = data.score;
  drawScore(lab);
  lab.root.dataset.pending = OUT.pending.length;
  lab.parts.score.classList.toggle("busy", OUT.pending.length > 0);
  if (OUT.pending.length && Date.now() - lab.sent > RESEND_MS) send(lab);
}

// What is stored, with the presses on their way laid over it.
function overlay(lab) {
  lab.decisions = { ...lab.stored };
  for (const p of OUT.pending)
    if (p.kind === "decide" && p.desk === lab.desk)
      for (const i of p.latents) {
        if (p.decision === "none") delete lab.decisions[i];
        else lab.decisions[i] = p.decision;
      }
}
function decide(lab, decision, ids) {
  const latents = ids || (lab.current === null ? [] : [lab.current]);
  if (!latents.length || lab.readonly) return;
  act(lab, { kind: "decide", latents, decision, reason: lab.reason });
  lab.reason = "";
  const field = lab.parts.card.querySelector("input.tool");
  if (field) field.value = "";
  if (!ids && lab.q.advance.checked) step(lab, 1);
}
function act(lab, what) {
  if (lab.readonly) return;
  OUT.pending.push({ seq: ++OUT.seq, desk: lab.desk, ...what });
  overlay(lab);
  markQueue(lab);
  drawBadge(lab);
  lab.parts.score.classList.add("busy");
  send(lab);
}
function send(lab) {
  lab.sent = Date.now();
  lab.root.dataset.pending = OUT.pending.length;
  lab.trigger("did", {
    client: OUT.client,
    log: OUT.pending,
    current: lab.current,
    have: [...lab.cards.keys()],
    queue: lab.queueHash,
    carry: Boolean(lab.open.carry),
    at: Date.now(),
  });
}
function go(lab, id) {
  if (id === null || id === undefined || id === lab.current) return;
  lab.current = id;
  markQueue(lab);
  lab.parts.card.scrollTop = 0;
  drawCard(lab);
  reveal(lab);
  clearTimeout(lab.soon);
  // Known cards are on screen; the server is told (URL, share of this latent, cards to come) once the keys rest.
  lab.soon = setTimeout(() => send(lab), lab.cards.has(id) ? 120 : 0);
}
function step(lab, by) {
  const order = lab.q.order || [],
    at = order.indexOf(lab.current);
  go(lab, order[at < 0 ? 0 : Math.min(order.length - 1, Math.max(0, at + by))]);
}
