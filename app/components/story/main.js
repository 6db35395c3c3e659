// The story on its page: the same deck that is exported.
import { isDark } from "../common/theme.js";
import { startDeck } from "./deck.js";

const DECKS = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".story");
  root.dataset.mode = isDark(root) ? "dark" : "light";
  const before = DECKS.get(root);
  if (before?.html === data.html) return;
  before?.stop();
  // Everything in it was escaped where it was written; a document parsed like this runs no script.
  const parsed = new DOMParser().parseFromString(data.html, "text/html");
  root.replaceChildren(...parsed.body.childNodes);
  const tell = (what) => setTriggerValue("told", { ...what, at: Date.now() });
  const stop = startDeck(root, data.step, tell);
  DECKS.set(root, { html: data.html, stop });
  return stop;
}
