// Presses: what a person decides. Each is kept until the server says that it is stored, and sent again if no answer
// comes. Every view that decides uses these functions, so a press has the same guarantees wherever it is made.
const RESEND_MS = 4000;
const QUIET_MS = 2000;
// Of the page, not of one drawing of a component: what is on its way outlives the view in which it was pressed.
const OUT = (window.saeevalPresses ??= {
  client: crypto.randomUUID ? crypto.randomUUID() : String(Math.random()),
  seq: 0,
  pending: [],
});

// A component's line to the server. `more()` gives what it sends beside the presses.
export function makeLine(root, more) {
  return { root, more, trigger: null, made: null, sent: 0, heard: Date.now(), asked: 0, stop: null };
}

// Every redraw calls this: an answer has come. `data.made` says where presses are made from now on (set, task,
// protocol, seed, ablation and N), `data.ack` up to which number they are stored, `data.heard` which question was
// answered last.
export function hear(line, data, trigger) {
  line.trigger = trigger;
  line.heard = Date.now();
  line.made = data.made;
  const stored = data.ack[OUT.client] ?? 0;
  OUT.pending = OUT.pending.filter((p) => p.seq > stored);
  if ((data.heard?.[OUT.client] ?? 0) >= line.asked) line.asked = 0;
  mark(line);
  listen(line);
}

// Call when everything is drawn: an answer that left presses open is followed by sending them again in time.
export function resend(line) {
  if (waits(line) && Date.now() - line.sent > RESEND_MS) send(line);
}

// A press of kind "decide", "undo" or "commit", with what belongs to it; `of` is the class, "" in SHIFT.
export function press(line, kind, { of = "", latents = [], decision = "", reason = "" } = {}) {
  OUT.pending.push({
    client: OUT.client,
    seq: ++OUT.seq,
    made: line.made,
    kind,
    of,
    latents,
    decision,
    reason,
  });
}

// Tell the server, with all presses that it has not stored yet.
export function send(line) {
  line.sent = Date.now();
  mark(line);
  line.trigger("did", { client: OUT.client, seq: OUT.seq, log: OUT.pending, ...line.more(), at: line.sent });
}

// Ask for something that is no press (another N, another cell): open until `data.heard` reaches it, and asked again
// like a press. False while an answer is on its way: then the caller asks when it has come.
export function ask(line) {
  const busy = waits(line) && Date.now() - line.sent < RESEND_MS;
  line.asked = ++OUT.seq;
  mark(line);
  if (!busy) send(line);
  return !busy;
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
  const seen = () => {
    if (!document.hidden && Date.now() - line.heard > QUIET_MS) send(line);
  };
  document.addEventListener("visibilitychange", seen);
  const timer = setInterval(() => resend(line), 1000);
  line.stop = () => {
    document.removeEventListener("visibilitychange", seen);
    clearInterval(timer);
    line.stop = null;
  };
}
