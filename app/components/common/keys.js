// Keys belong to a page only while nobody types or uses a control, never with Ctrl, Alt or Meta, never under a dialog.
const CONTROLS = "textarea, select, [role=combobox], [role=slider], [role=radiogroup], [role=tablist], [role=menu]";
const DIALOG = "[role=dialog]";
// Streamlit's own, over the page while there is no server: nobody opened it, and what is pressed meanwhile is kept.
const NO_SERVER = "Connection error";

// The key's name (a letter in lower case) when it is meant for the page, else null. `more`: further selectors whose
// elements keep their keys to themselves.
export function pageKey(e, more = "") {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return null;
  if ([...document.querySelectorAll(DIALOG)].some((d) => !d.textContent.startsWith(NO_SERVER))) return null;
  const at = e.composedPath()[0];
  if (at && at.closest && keepsKeys(at, more)) return null;
  return e.key.length === 1 ? e.key.toLowerCase() : e.key;
}

function keepsKeys(at, more) {
  if (at.isContentEditable || at.closest(more ? `${CONTROLS}, ${more}` : CONTROLS)) return true;
  return at.closest("input") && !["checkbox", "button"].includes(at.type);
}
