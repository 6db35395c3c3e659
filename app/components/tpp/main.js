// The TPP page's live part: one component, so that a move costs one fragment run and redraws only what changed.
// Toggles are presses (see common/press.js); N and cell follow the latest move.
import { button, el } from "../common/dom.js";
import { ask, asking, hear, makeLine, press, resend, send } from "../common/press.js";
import { askAgain, makeRest } from "../common/rest.js";
import { skipTo } from "../common/skip.js";
import { isDark } from "../common/theme.js";
import { drawDetail } from "./detail.js";
import { drawMatrix } from "./matrix.js";

const PAGES = new WeakMap();
const PER_N = "saeeval.colours";

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".tpp");
  let page = PAGES.get(root);
  if (!page) PAGES.set(root, (page = makePage(root)));
  receive(page, data, setTriggerValue);
  page.unskip ??= skipTo("the matrix", () => root.querySelector(".cell[tabindex='0']"));
  return () => {
    page.unskip?.();
    page.unskip = null;
    page.line.stop?.();
    page.rest.stop?.();
  };
}

function makePage(root) {
  const page = { root, want: {}, again: false };
  page.line = makeLine(root, () => page.want);
  page.rest = makeRest(page, () => Boolean(page.data?.reading || page.data?.unexplained));
  page.move = (wish) => move(page, wish);
  page.toggle = (latent, decision) => toggle(page, latent, decision);
  page.parts = {
    bar: el("div", "bar"),
    cards: el("div", "cards"),
    left: el("section", "panel"),
    probes: el("div", "probes"),
    right: el("section", "panel detail"),
    flips: el("section", "panel"),
  };
  page.parts.left.setAttribute("aria-label", "Matrix");
  page.parts.right.setAttribute("aria-label", "Behind the cell");
  page.parts.flips.setAttribute("aria-label", "Texts that changed sides");
  buildBar(page);
  buildProbes(page);
  root.replaceChildren(
    page.parts.bar,
    page.parts.cards,
    el("div", "two", el("div", "stack", page.parts.left, page.parts.flips), page.parts.right),
  );
  return page;
}

function receive(page, data, trigger) {
  page.data = data;
  page.root.dataset.mode = isDark(page.root) ? "dark" : "light";
  page.root.classList.toggle("present", data.present);
  hear(page.line, data, trigger);
  if (!asking(page.line)) page.want = {};
  drawBar(page);
  drawProbes(page);
  drawCards(page);
  drawMatrix(page);
  drawDetail(page);
  page.root.dataset.n = data.n;
  if (page.again) {
    page.again = false;
    send(page.line);
  } else resend(page.line);
  askAgain(page.rest);
}

// One request at a time: while one is on its way, only the latest wish is remembered.
function move(page, wish) {
  Object.assign(page.want, wish);
  page.again = !ask(page.line);
}

function toggle(page, latent, decision) {
  press(page.line, "decide", { of: page.data.classes[page.data.cell[0]], latents: [latent], decision });
  send(page.line);
}

function buildBar(page) {
  const bar = page.parts.bar;
  page.slider = el("input");
  Object.assign(page.slider, { type: "range", min: 0, step: 1, id: "n" });
  page.slider.setAttribute("aria-label", "Latents ablated per class, N");
  page.slider.oninput = () => {
    const n = page.data.ns[Number(page.slider.value)];
    page.shown.textContent = n;
    page.move({ n });
  };
  page.shown = el("output", "n");
  bar.append(el("label", "slide", el("span", "", "N = "), page.shown, page.slider));
  page.scale = button("", "", () => page.move({ scale: page.data.relative ? "" : "relative" }));
  page.ablation = button("", "", () => page.move({ ablation: page.data.ablation === "mean" ? "zero" : "mean" }));
  page.perN = localStorage.getItem(PER_N) === "1";
  page.colours = button("", "", () => {
    page.perN = !page.perN;
    localStorage.setItem(PER_N, page.perN ? "1" : "0");
    drawBar(page);
    drawMatrix(page);
  });
  page.colours.title =
    "Fixed: the same colour is the same loss at every N, so that sliding shows what changes. " +
    "Per N: the largest cell of this N has the full colour.";
  bar.append(page.scale, page.colours, page.ablation, (page.note = el("span", "mute small")));
}
function drawBar(page) {
  const d = page.data;
  page.parts.bar.hidden = d.present;
  page.slider.max = d.ns.length - 1;
  if (page.want.n === undefined) {
    page.slider.value = d.ns.indexOf(d.n);
    page.shown.textContent = d.n;
    page.slider.setAttribute("aria-valuetext", `N = ${d.n}`);
  }
  page.scale.disabled = d.fresh;
  page.scale.textContent = d.relative ? "scale: relative to chance" : "scale: absolute";
  page.scale.setAttribute("aria-pressed", d.relative);
  page.scale.title = "Switch between the loss of balanced accuracy and its share of the probe's accuracy above chance";
  page.colours.textContent = page.perN ? "colours: per N" : "colours: fixed over N";
  page.colours.setAttribute("aria-pressed", page.perN);
  page.ablation.textContent = d.ablation === "mean" ? "ablation: to the mean" : "ablation: to zero (paper)";
  page.ablation.title =
    "What an ablated latent is set to: its mean over the training texts, or 0 as in the paper. " +
    "Zero also moves the probes' thresholds, which a random decoder can do as well.";
  page.note.textContent = d.setNote;
}
function drawCards(page) {
  page.parts.cards.replaceChildren(
    ...page.data.cards.map((c, i) => {
      const card = el(
        "div",
        "fact" + (i ? "" : " first"),
        el("span", "", c.label),
        el("b", i ? "" : "tppscore", c.value),
        el("i", "ci", c.ci),
      );
      card.title = c.how;
      return card;
    }),
  );
}

// Over the matrix: whether it shows the probes that were there, or such as are fitted after the ablation.
function buildProbes(page) {
  const choose = (label, fresh) => button("", label, () => page.move({ fresh }));
  page.old = choose("old probes: is this probe cut off?", "");
  page.fresh = choose("fresh probes: can the class still be read?", "1");
  page.why = el("p", "how");
  page.why.setAttribute("role", "status");
  const group = el("div", "choice", page.old, page.fresh);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Which probes the matrix shows");
  page.parts.probes.append(group, page.why);
}
function drawProbes(page) {
  const d = page.data;
  page.parts.probes.firstChild.hidden = d.present;
  page.old.setAttribute("aria-pressed", !d.fresh);
  page.fresh.setAttribute("aria-pressed", d.fresh);
  page.why.textContent = d.note;
  page.root.dataset.reading = d.reading;
}
