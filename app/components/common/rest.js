// Questions of a component's own: what the server works out in the background is asked for once nothing is on its way
// and nobody pressed, moved or clicked anything for a while. `owner` has the component's `root` and `line`.
import { asking, onTheirWay, send } from "./press.js";

const OTHERS_MS = 3000;

// `pending()`: whether there is something to ask for.
export function makeRest(owner, pending) {
  return { owner, pending, asked: 0, timer: null, stop: null };
}

// Every redraw calls this. An answer that says the same as the one before is not drawn, so asking goes on without one.
export function askAgain(rest) {
  listenElsewhere(rest);
  clearTimeout(rest.timer);
  if (!rest.pending()) {
    rest.asked = 0;
    return;
  }
  rest.asked += 1;
  later(rest, Math.min(2000, 200 + 50 * rest.asked));
}

function later(rest, wait) {
  rest.timer = setTimeout(() => {
    const { root, line } = rest.owner;
    if (root.isConnected && onTheirWay() === 0 && !asking(line)) send(line);
    askAgain(rest);
  }, wait);
}

// A question of ours that followed a click on a link or a control at once would take its place in Streamlit's queue.
function listenElsewhere(rest) {
  if (rest.stop) return;
  const elsewhere = (e) => {
    const press = e.type === "pointerdown" || e.key === "Enter" || e.key === " ";
    if (!press || !rest.pending() || e.composedPath().includes(rest.owner.root)) return;
    clearTimeout(rest.timer);
    later(rest, OTHERS_MS);
  };
  for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, elsewhere, true);
  rest.stop = () => {
    for (const type of ["pointerdown", "keydown"]) document.removeEventListener(type, elsewhere, true);
    clearTimeout(rest.timer);
    rest.stop = null;
  };
}
