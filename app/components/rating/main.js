// Rating by keys. What is saved is sent again until the server says that it is stored; it stores each number once.
import { button, el } from "../common/dom.js";
import { pageKey } from "../common/keys.js";
import { isDark } from "../common/theme.js";

const FORMS = new WeakMap();
const AGAIN_MS = 4000;
const TOP = 4;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".rating");
  let form = FORMS.get(root);
  if (!form) FORMS.set(root, (form = { root, client: crypto.randomUUID?.() ?? String(Math.random()), seq: 0 }));
  form.tell = (message) => setTriggerValue("did", message);
  form.data = data;
  root.dataset.mode = isDark(root) ? "dark" : "light";
  if ((data.ack[form.client] ?? 0) >= form.seq) {
    clearInterval(form.timer);
    form.waiting = false;
  }
  if (form.latent !== data.latent) start(form);
  else draw(form);
  if (!form.stop) listenForRatings(form);
  return () => form.stop?.();
}

function listenForRatings(form) {
  const key = (e) => onRatingKey(form, e);
  document.addEventListener("keydown", key);
  form.stop = () => {
    document.removeEventListener("keydown", key);
    clearInterval(form.timer);
    form.stop = null;
  };
}

function start(form) {
  Object.assign(form, { latent: form.data.latent, ratings: form.data.concepts.map(() => null), at: 0 });
  form.what = field("What is it about, in one sentence (optional)", 300);
  form.why = field("Why (optional)", 500);
  form.list = el("div");
  form.acts = el("div", "acts");
  const how =
    "Keys: 0 to 4 rate the marked concept and go on; arrows move; A: all that are left are 0; S skip; Enter save.";
  form.root.replaceChildren(form.what, form.list, form.why, form.acts, el("p", "how", how));
  draw(form);
}

function field(label, longest) {
  const input = el("input");
  input.placeholder = label;
  input.setAttribute("aria-label", label);
  input.maxLength = longest;
  return input;
}

// Fields keep their keys; a page that is not on screen gets none.
function onRatingKey(form, e) {
  if (!form.root.isConnected || !form.root.getClientRects().length) return;
  const name = pageKey(e, "button:not(.level), [role=tab]");
  const move = { ArrowDown: 1, ArrowUp: -1 }[name];
  if (name === null) return;
  if (move) form.at = Math.min(form.ratings.length - 1, Math.max(0, form.at + move));
  else if (/^[0-4]$/.test(name)) rateAt(form, form.at, Number(name));
  else if (name === "a") restIsZero(form);
  else if (name === "s") finish(form, true);
  else if (name === "Enter") finish(form, false);
  else return;
  e.preventDefault();
  draw(form);
}

function rateAt(form, at, level) {
  form.ratings[at] = level;
  form.at = Math.min(form.ratings.length - 1, at + 1);
}

function restIsZero(form) {
  form.ratings = form.ratings.map((r) => r ?? 0);
}

function finish(form, skip) {
  const missing = form.ratings.some((r) => r === null);
  if (form.waiting || (!skip && (missing || form.data.locked))) return;
  const names = form.data.concepts.map(([name]) => name);
  const message = {
    client: form.client,
    seq: ++form.seq,
    latent: form.latent,
    skip,
    ratings: skip ? {} : Object.fromEntries(names.map((name, k) => [name, form.ratings[k]])),
    explanation: form.what.value,
    reason: form.why.value,
  };
  form.waiting = true;
  form.tell(message);
  form.timer = setInterval(() => form.tell({ ...message, at: performance.now() }), AGAIN_MS);
}

function draw(form) {
  const { concepts, scale, locked } = form.data;
  form.list.replaceChildren(...concepts.map((c, k) => conceptRow(form, c, k, scale)));
  const left = form.ratings.filter((r) => r === null).length;
  const act = (hint, label, does) =>
    button(
      "",
      label,
      () => {
        does();
        draw(form);
      },
      hint,
    );
  const save = act("\u21b5", left ? `Save and next (${left} not rated)` : "Save and next", () => finish(form, false));
  save.disabled = left > 0 || Boolean(locked) || Boolean(form.waiting);
  save.title = locked || (left ? "Rate every concept, or press A where nothing else applies" : "");
  form.acts.replaceChildren(
    save,
    act("A", left === concepts.length ? "All 0" : "The rest is 0", () => restIsZero(form)),
    act("S", "Skip", () => finish(form, true)),
  );
  form.root.dataset.latent = form.latent;
}

function conceptRow(form, [name, gloss], k, scale) {
  const levels = el("span", "levels");
  levels.setAttribute("role", "group");
  levels.setAttribute("aria-label", name);
  for (let level = 0; level <= TOP; level++) {
    const b = button("level", String(level), () => {
      rateAt(form, k, level);
      draw(form);
    });
    b.setAttribute("role", "radio");
    b.setAttribute("aria-checked", form.ratings[k] === level);
    b.title = scale[level];
    levels.append(b);
  }
  const label = el("span", "name", name, gloss ? el("span", "mute", ` (${gloss})`) : null);
  return el("div", "concept" + (k === form.at ? " here" : ""), label, levels);
}
