// The keys of the lab, shown by "?".
import { button, el, table } from "../common/dom.js";

const KEYS = [
  ["A", "ablate the latent on screen"],
  ["K", "keep it"],
  ["U", "unsure"],
  ["Z", "undo your last decision; says what was undone and goes there"],
  ["\u2192 \u2193", "next latent of the queue"],
  ["\u2190 \u2191", "previous latent"],
  ["/", "search the queue"],
  ["?", "these keys"],
];

export function makeHelp() {
  const box = el("dialog", "help");
  box.setAttribute("aria-label", "Keys");
  box.append(
    el("h3", "", "Keys"),
    table(
      ["", ""],
      KEYS.map(([key, does]) => [el("kbd", "", key), does]),
    ),
    el("p", "how", "They do nothing while you type in a field. Every press is saved at once."),
    button("", "Close", () => box.close(), "Esc"),
  );
  box.onclick = (e) => {
    if (e.target === box) box.close();
  };
  return box;
}
