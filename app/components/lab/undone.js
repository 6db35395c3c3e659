// What an undo took back: said for a few seconds, and gone to.
import { el } from "../common/dom.js";
import { onTheirWay } from "../common/press.js";

const SHOWN_MS = 6000;

// An undo was pressed: the next answer that leaves no press open is about it.
export function expectUndo(lab) {
  lab.undoing ??= { before: lab.record?.undone?.id ?? 0 };
}

// Call with every answer, after lab.record is the new one.
export function tellUndo(lab) {
  if (!lab.undoing || onTheirWay() > 0) return;
  const { undone } = lab.record,
    done = undone && undone.id !== lab.undoing.before;
  lab.undoing = null;
  toast(lab, done ? undone.text : "nothing left to undo");
  if (done && undone.latents.length) lab.go(undone.latents[0]);
}

function toast(lab, text) {
  lab.toast?.remove();
  lab.toast = el("div", "toast", text);
  lab.toast.setAttribute("role", "status");
  lab.root.append(lab.toast);
  clearTimeout(lab.toastGoes);
  lab.toastGoes = setTimeout(() => lab.toast?.remove(), SHOWN_MS);
}
