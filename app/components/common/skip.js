// "Skip to ...": the first stop of the Tab key on the page, so that nobody walks through menus to reach the list.
const STYLE =
  "position:fixed;z-index:1000001;top:6px;left:6px;padding:6px 12px;border-radius:6px;font:14px/1.4 sans-serif;" +
  "background:Canvas;color:LinkText;border:1px solid currentColor";

// One link of a page at a time: `name` says where it goes, `target()` gives the element. Returns what takes it away.
export function skipTo(name, target) {
  document.getElementById("saeeval-skip")?.remove();
  const link = document.createElement("a");
  link.id = "saeeval-skip";
  link.href = "#";
  link.textContent = `Skip to ${name}`;
  hide(link);
  link.onfocus = () => (link.style.cssText = STYLE);
  link.onblur = () => hide(link);
  link.onclick = (e) => {
    e.preventDefault();
    target()?.focus();
  };
  document.body.prepend(link);
  return () => link.remove();
}

function hide(link) {
  link.style.cssText = "position:absolute;left:-9999px;top:0";
}
