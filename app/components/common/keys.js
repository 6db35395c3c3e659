// Keys belong to a page only while nobody types or uses a control, never with Ctrl, Alt or Meta, never under a dialog.
const CONTROLS =
  "textarea, select, [role=combobox], [role=slider], [role=radiogroup], [role=tablist], [role=menu], [role=dialog]";

// The key's name (a letter in lower case) when it is meant for the page, else null. `more`: further selectors whose
// elements keep their keys to themselves.
export function pageKey(e, more = "") {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || document.querySelector("[role=dialog]")) return null;
  const at = e.composedPath()[0];
  if (at && at.closest && keepsKeys(at, more)) return null;
  return e.key.length === 1 ? e.key.toLowerCase() : e.key;
}

function keepsKeys(at, more) {
  if (at.isContentEditable || at.closest(more ? `${CONTROLS}, ${more}` : CONTROLS)) return true;
  return at.closest("input") && !["checkbox", "button"].includes(at.type);
}
