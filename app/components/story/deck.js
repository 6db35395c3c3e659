// A deck: steps one after the other, each with a figure in one or several states. Only keys that move do anything here.
import { pageKey } from "../common/keys.js";

const SWIPE = 50; // pixels

// Start the deck in `root` at a step (from 0). `told({step})` after every move, `told({leave: true})` on the way out.
// Returns a function that stops it.
export function startDeck(root, at, told) {
  const steps = [...root.querySelectorAll(".step")];
  const deck = { root, steps, step: 0, frame: 0, told };
  const at_most = Math.max(steps.length - 1, 0);
  go(deck, Math.min(Math.max(at, 0), at_most), 0, false);
  const acts = {
    back: () => back(deck),
    on: () => next(deck),
    say: () => notes(deck),
    out: () => told({ leave: true }),
  };
  for (const [name, act] of Object.entries(acts)) {
    const button = root.querySelector(`.bar .${name}`);
    if (button) button.onclick = act;
  }
  const key = (e) => pressed(deck, e);
  document.addEventListener("keydown", key);
  let from = null;
  root.ontouchstart = (e) => (from = e.changedTouches[0].clientX);
  root.ontouchend = (e) => {
    const moved = from === null ? 0 : e.changedTouches[0].clientX - from;
    from = null;
    const frame = e.target.closest?.(".frame");
    const scrolls = frame && frame.scrollWidth > frame.clientWidth + 2; // then the finger moves the picture
    if (!scrolls && Math.abs(moved) > SWIPE) (moved < 0 ? next : back)(deck);
  };
  return () => document.removeEventListener("keydown", key);
}

function pressed(deck, e) {
  const name = pageKey(e);
  if (name === " " && e.composedPath()[0].closest?.("button, a, summary")) return;
  const moves = {
    ArrowRight: () => next(deck),
    PageDown: () => next(deck),
    " ": () => next(deck),
    ArrowLeft: () => back(deck),
    PageUp: () => back(deck),
    Home: () => go(deck, 0, 0),
    End: () => go(deck, deck.steps.length - 1, 0),
    n: () => notes(deck),
    Escape: () => deck.told({ leave: true }),
  };
  if (!name || !moves[name]) return;
  e.preventDefault();
  moves[name]();
}

function frames(deck, step) {
  return [...deck.steps[step].querySelectorAll(".frame")];
}

function next(deck) {
  if (deck.frame + 1 < frames(deck, deck.step).length) go(deck, deck.step, deck.frame + 1);
  else if (deck.step + 1 < deck.steps.length) go(deck, deck.step + 1, 0);
}

function back(deck) {
  if (deck.frame > 0) go(deck, deck.step, deck.frame - 1);
  else if (deck.step > 0) go(deck, deck.step - 1, Math.max(frames(deck, deck.step - 1).length - 1, 0));
}

function go(deck, step, frame, tell = true) {
  const moved = step !== deck.step;
  Object.assign(deck, { step, frame });
  deck.steps.forEach((s, k) => (s.hidden = k !== step));
  if (!deck.steps.length) return;
  frames(deck, step).forEach((f, k) => (f.hidden = k !== frame));
  const states = frames(deck, step).length;
  const where = deck.root.querySelector(".where");
  if (where)
    where.textContent = `${step + 1} of ${deck.steps.length}${states > 1 ? `, picture ${frame + 1} of ${states}` : ""}`;
  if (tell && moved) deck.told({ step });
}

function notes(deck) {
  deck.root.classList.toggle("with-notes");
}
