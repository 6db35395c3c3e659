// One evidence card on a page of its own, with arrow keys to the latents before and after it in the table.
import { button, el, num, table } from "../common/dom.js";
import { pageKey } from "../common/keys.js";
import { isDark } from "../common/theme.js";
import { drawCard } from "../lab/card.js";

const CARDS = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".lab");
  let page = CARDS.get(root);
  if (!page) {
    CARDS.set(
      root,
      (page = {
        parts: { card: el("section", "panel card") },
        cards: new Map(),
        byId: new Map(),
        shares: null,
        reason: "",
        solo: true,
      }),
    );
    page.parts.card.setAttribute("aria-label", "Evidence");
    page.nav = el("div", "row");
    page.more = el("section", "panel");
    root.replaceChildren(page.nav, page.parts.card, page.more);
  }
  page.go = (id) => {
    if (id !== null && id !== undefined) setTriggerValue("go", { latent: id, at: Date.now() });
  };
  root.dataset.mode = isDark(root) ? "dark" : "light";
  root.className = "lab solo" + (data.present ? " present" : "");
  page.current = data.current;
  page.decisions = data.decision ? { [data.current]: data.decision } : {};
  page.cards.set(data.current, data.card);
  page.nav.hidden = data.present || !data.place;
  page.more.hidden = !data.effects.length;
  const place = el("span", "mute small num", data.place);
  place.setAttribute("aria-live", "polite");
  page.nav.replaceChildren(nav("\u2190 previous", data.previous), nav("next \u2192", data.next), place);
  drawCard(page);
  const largest = Math.max(0, ...data.effects.map(([, v]) => Math.abs(v)));
  const digits = largest > 0 ? Math.min(Math.max(3, 3 - Math.floor(Math.log10(largest))), 12) : 3; // one format a column
  page.more.replaceChildren(
    el("h4", "", "effect on every probe"),
    table(
      ["probe", "effect"],
      data.effects.map(([name, v]) => [name, num(v, digits)]),
      [1],
    ),
    el(
      "p",
      "how",
      "attribution I = (mean pooled latent on positives \u2212 on negatives) \u00d7 D\u00b7w, " +
        "on each probe's own training texts",
    ),
  );
  function nav(label, id) {
    const b = button("", label, () => page.go(id));
    b.disabled = id === null;
    return b;
  }
  const key = (e) => {
    const name = pageKey(e, "input, canvas, [role=listbox], [role=grid], [data-testid=stDataFrame]");
    const id = { ArrowLeft: data.previous, ArrowRight: data.next, k: data.previous, j: data.next }[name];
    if (id !== undefined && id !== null) {
      e.preventDefault();
      page.go(id);
    }
  };
  // Every redraw calls this function again: the handler that knew the old neighbours must go.
  if (page.key) document.removeEventListener("keydown", page.key);
  document.addEventListener("keydown", (page.key = key));
  return () => document.removeEventListener("keydown", page.key);
}
