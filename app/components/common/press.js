// Presses: what a person decides. Each is kept until the server says that it is stored, and sent again if no answer
// comes. Every view that decides uses these functions, so a press has the same guarantees wherever it is made.
const RESEND_MS = 4000;
const QUIET_MS = 2000;
const COURIER_MS = 8000;
const RESENDS = 2;
const KEPT = "saeeval.presses";
// Milliseconds since the page was loaded: it never goes back, whatever is done to the computer's clock.
const clock = () => performance.now();
// Of the page, not of one drawing of a component: what is on its way outlives the view in which it was pressed.
// A reload keeps the presses with the numbers they have, and numbers new ones under another name: a copied tab, which
// copies the session's storage too, never gives a number twice.
const OUT = (window.saeevalPresses ??= {
  client: crypto.randomUUID ? crypto.randomUUID() : String(Math.random()),
  seq: 0,
  pending: readKept(),
  lines: 0, // components on the page that send presses
  unanswered: 0, // times sent again since the last answer
  courier: null,
  carried: clock(),
  wait: COURIER_MS,
  problem: "",
  colours: "",
  note: null,
  timer: null,
});

// A component's line to the server. `more()` gives what it sends beside the presses.
export function makeLine(root, more) {
  return { root, more, trigger: null, made: null, sent: 0, heard: clock(), asked: 0, stop: null };
}

// Every redraw calls this: an answer has come. `data.made` says where presses are made from now on (set, task,
// protocol, seed, ablation and N), `data.ack` up to which number they are answered, `data.refused` which of them are
// not stored and why, `data.heard` which question was answered last.
export function hear(line, data, trigger) {
  line.trigger = trigger;
  line.heard = clock();
  line.made = data.made;
  answered(data);
  if ((data.heard?.[OUT.client] ?? 0) >= line.asked) line.asked = 0;
  mark(line);
  listen(line);
}

// Call when everything is drawn: an answer that left presses open is followed by sending them again in time. A line
// that gets no answer is left to the courier: a new session knows the page, but none of its fragments.
export function resend(line) {
  if (!waits(line) || clock() - line.sent < RESEND_MS || OUT.unanswered > RESENDS) return;
  OUT.unanswered += 1;
  if (OUT.unanswered <= RESENDS) send(line);
}

// A press of kind "decide", "undo" or "commit", with what belongs to it; `of` is the class, "" in SHIFT.
export function press(line, kind, { of = "", latents = [], decision = "", reason = "" } = {}) {
  OUT.pending.push({
    client: OUT.client,
    seq: ++OUT.seq,
    at: clock(),
    made: line.made,
    kind,
    of,
    latents,
    decision,
    reason,
  });
  keep();
}

// The courier's drawing: `deliver(message)` asks for a run of the whole page, which a new session answers too.
export function carry(data, deliver) {
  OUT.courier = deliver;
  OUT.colours = data.colours;
  answered(data);
  if (OUT.timer) return;
  OUT.timer = setInterval(watch, 500);
  window.addEventListener("beforeunload", (e) => {
    if (OUT.pending.length) e.preventDefault();
  });
}

// Tell the server, with all presses that it has not stored yet.
export function send(line) {
  line.sent = clock();
  mark(line);
  line.trigger("did", { client: OUT.client, seq: OUT.seq, log: OUT.pending, ...line.more(), at: line.sent });
}

// Ask for something that is no press (another N, another cell): open until `data.heard` reaches it, and asked again
// like a press. False while an answer is on its way: then the caller asks when it has come.
export function ask(line) {
  const busy = waits(line) && clock() - line.sent < RESEND_MS;
  line.asked = ++OUT.seq;
  mark(line);
  if (!busy) send(line);
  return !busy;
}

// Say why a press is not even sent, as for one that was refused.
export function complain(why) {
  OUT.problem = why;
  say();
}

// Whether the newest question is still open.
export const asking = (line) => line.asked > 0;
// Presses that are not stored yet, wherever they were made.
export const onTheirWay = () => OUT.pending.length;

// latent -> decision of the presses on their way to the set on screen; "none" takes a decision back.
export function pressed(line, of = "") {
  const found = new Map();
  for (const p of OUT.pending)
    if (p.kind === "decide" && p.made.desk === line.made.desk && p.of === of)
      for (const latent of p.latents) found.set(latent, p.decision);
  return found;
}

// What is stored, with the presses on their way laid over it.
export function overlay(line, stored, of = "") {
  const decisions = { ...stored };
  for (const [latent, decision] of pressed(line, of)) {
    if (decision === "none") delete decisions[latent];
    else decisions[latent] = decision;
  }
  return decisions;
}

const waits = (line) => OUT.pending.length > 0 || line.asked > 0;

function mark(line) {
  line.root.dataset.pending = OUT.pending.length + (line.asked > 0 ? 1 : 0);
}

// A component's function runs again at every redraw, its cleanup only when it leaves the page: listen once.
function listen(line) {
  if (line.stop) return;
  OUT.lines += 1;
  const seen = () => {
    if (!document.hidden && clock() - line.heard > QUIET_MS) send(line);
  };
  document.addEventListener("visibilitychange", seen);
  const timer = setInterval(() => resend(line), 1000);
  line.stop = () => {
    document.removeEventListener("visibilitychange", seen);
    clearInterval(timer);
    OUT.lines -= 1;
    line.stop = null;
  };
}

// What was answered is no longer on its way; what was refused is said until it is clicked away.
function answered(data) {
  const done = (p) => p.seq <= (data.ack[p.client] ?? 0);
  for (const p of OUT.pending.filter(done)) {
    const refused = data.refused.find(([client, seq]) => client === p.client && seq === p.seq);
    if (refused) OUT.problem = refused[2];
  }
  OUT.pending = OUT.pending.filter((p) => !done(p));
  OUT.unanswered = 0;
  OUT.wait = COURIER_MS;
  keep();
  say();
}

// Twice a second: say what is not saved, and send the courier where no line is left or none gets an answer.
function watch() {
  say();
  const stuck = OUT.lines > 0 ? OUT.unanswered > RESENDS : OUT.pending.length > 0;
  const since = OUT.lines > 0 ? OUT.carried : Math.max(OUT.carried, OUT.pending[0]?.at ?? 0);
  if (!stuck || clock() - since < OUT.wait) return;
  OUT.carried = clock();
  OUT.wait = Math.min(2 * OUT.wait, 8 * COURIER_MS); // a slow server must get the time to finish its answer
  OUT.courier({ client: OUT.client, seq: OUT.seq, log: OUT.pending, at: OUT.carried });
}

// The one line about presses, over whatever view is open; empty when all is saved.
function say() {
  const late = OUT.pending.filter((p) => clock() - p.at > QUIET_MS).length;
  const waiting = late ? `${late} ${late === 1 ? "press" : "presses"} not saved yet` : "";
  const text = [OUT.problem && `not saved: ${OUT.problem}`, waiting].filter(Boolean).join("; ");
  if (!OUT.note && text) document.body.append((OUT.note = makeNote()));
  if (!OUT.note || OUT.note.textContent === text) return;
  OUT.note.textContent = text;
  OUT.note.hidden = !text;
  OUT.note.style.background = OUT.problem ? "var(--ablate)" : "var(--unsure)";
}

function makeNote() {
  const note = document.createElement("div");
  note.id = "saeeval-presses";
  note.setAttribute("role", "status");
  note.title = "Click to close";
  const style = document.createElement("style");
  style.textContent = OUT.colours;
  document.head.append(style);
  note.style.cssText =
    "position:fixed;z-index:1000000;bottom:12px;left:50%;transform:translateX(-50%);max-width:80vw;padding:6px 14px;" +
    "border-radius:6px;color:var(--on-strong);font:14px/1.4 sans-serif;cursor:pointer";
  note.onclick = () => {
    OUT.problem = "";
    say();
  };
  return note;
}

// Storage may be full or forbidden: then a reload loses what is on its way, which beforeunload asks about.
function keep() {
  try {
    if (OUT.pending.length) sessionStorage.setItem(KEPT, JSON.stringify(OUT.pending));
    else sessionStorage.removeItem(KEPT);
  } catch {
    return;
  }
}

function readKept() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    const whole = (p) => typeof p?.client === "string" && p.seq > 0 && p.made;
    return Array.isArray(kept) ? kept.filter(whole).map((p) => ({ ...p, at: 0 })) : [];
  } catch {
    return [];
  }
}
