// What is to be done here, over the queue: what the probe should read, what it cheats on, and so what to ablate.
import { button, el } from "../common/dom.js";

export function drawSays(lab, says) {
  const key = JSON.stringify(says);
  if (lab.saysKey === key) return;
  lab.saysKey = key;
  lab.says = says;
  const target = (text) => el("b", "target", text),
    spurious = (text) => el("b", "spurious", text);
  const line = el(
    "p",
    "",
    "This probe should read ",
    target(says.target),
    ` (${says.targetValues}). It cheats on `,
    spurious(says.spurious),
    ` (${says.spuriousValues}): in its training texts the two always go together. `,
    el("strong", "", "Ablate latents about ", spurious(says.spurious)),
    ", keep those about ",
    target(says.target),
    ".",
  );
  lab.parts.says.replaceChildren(
    line,
    button("tool", "Keys", () => lab.showKeys(), "?"),
  );
}
