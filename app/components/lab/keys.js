// Keys act on the current latent, never while somebody types, never with Ctrl, Alt or Meta, and never scroll the page.
const ACTS = { a: "ablate", k: "keep", u: "unsure" };
const MOVES = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

function typing(e) {
  const at = e.composedPath()[0];
  if (!at || !at.closest) return false;
  if (
    at.isContentEditable ||
    at.closest(
      "textarea, select, [role=combobox], [role=slider], [role=radiogroup], [role=tablist], [role=menu], [role=dialog]",
    )
  )
    return true;
  return at.closest("input") && !["checkbox", "button"].includes(at.type);
}
function onKey(lab, e) {
  if (
    e.defaultPrevented ||
    e.ctrlKey ||
    e.metaKey ||
    e.altKey ||
    typing(e) ||
    document.querySelector("[role=dialog]") ||
    !lab.root.isConnected ||
    lab.solo
  )
    return;
  const name = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  if (name in MOVES) {
    e.preventDefault();
    step(lab, MOVES[name]);
    return;
  }
  if (e.repeat) return;
  if (name in ACTS) {
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
function dark(node) {
  const c = getComputedStyle(node).getPropertyValue("--st-background-color").trim();
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = c || "#fff";
  const hex = probe.fillStyle;
  if (!hex.startsWith("#")) return false;
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return 0.3 * r + 0.6 * g + 0.1 * b < 128;
}
