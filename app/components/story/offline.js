// The story as a file: the step stands after the # of the address.
import { startDeck } from "./deck.js";

const root = document.querySelector(".story");
startDeck(root, Number(location.hash.slice(1) || 1) - 1, (what) => {
  if (what.leave) root.classList.toggle("whole");
  else history.replaceState(null, "", `#${what.step + 1}`);
});
