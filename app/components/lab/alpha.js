// The slider of alpha: the share of every ablated latent that is taken away. A look only: a commit is made at 1.
import { el } from "../common/dom.js";
import { send } from "../common/press.js";

const SOON_MS = 60;
const NAME = "\u03b1, the share that is taken away";

// The bar stays the same element at every redraw, so that a drag or the keyboard's focus is not lost.
export function makeAlpha(lab) {
  const slider = el("input");
  const bar = el("label", "alpha tool", "\u03b1", slider, el("output", "num"));
  Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.05, value: 1 });
  slider.setAttribute("aria-label", NAME);
  bar.title = "Partial ablation: this share of every ablated latent is taken away. A look only: commits are at 1.";
  slider.oninput = () => {
    lab.alphaAsked = String(Number(Number(slider.value).toFixed(2)));
    drawAlpha(lab);
    clearTimeout(lab.alphaSoon);
    lab.alphaSoon = setTimeout(() => send(lab.line), SOON_MS);
  };
  return bar;
}

// What is asked for stays on the slider until an answer is about it.
export function drawAlpha(lab) {
  const [slider, shown] = lab.alphaBar.querySelectorAll("input, output");
  if (lab.score && Number(lab.alphaAsked) === lab.score.alpha) lab.alphaAsked = null;
  const now = lab.alphaAsked ?? String(lab.score.alpha);
  if (Number(slider.value) !== Number(now)) slider.value = now;
  shown.textContent = now;
  lab.parts.score.classList.toggle("partial", lab.score.alpha !== 1);
}

// Beside a score that is not of the whole ablation.
export const atAlpha = (alpha) => (alpha === 1 ? "" : ` at \u03b1 = ${alpha}`);
