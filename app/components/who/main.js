// Who is deciding belongs to the browser: one cookie with the name, one with the guest that it is until it has a name.
const KEEP = "; path=/; max-age=31536000; SameSite=Strict";
const FORGET = "; path=/; max-age=0; SameSite=Strict";
const FIELD = 'input[aria-label="Your name (stored with each decision)"]';

export default function ({ data, setTriggerValue }) {
  const guest = cookie("saeeval_guest");
  if (guest === null || !/^[0-9a-f]{10}$/.test(guest)) write("saeeval_guest", data.guest, KEEP);
  else if (guest !== data.guest) setTriggerValue("guest", guest); // another tab of this browser was first
  if (data.who && cookie("saeeval_who") !== data.who) write("saeeval_who", data.who, KEEP);
  if (data.forget && cookie("saeeval_who") === data.forget) write("saeeval_who", "", FORGET);
  if (window.saeevalLeavesName) return; // this function runs again at every redraw: listen once
  window.saeevalLeavesName = true;
  document.addEventListener("keydown", leave);
}

// Enter takes the name; the keys that decide must not go on typing into it.
function leave(e) {
  if (e.key === "Enter" && !e.isComposing && e.target.matches?.(FIELD)) setTimeout(() => e.target.blur());
}

// Its exact value: "Name" is not the start of "Namea".
function cookie(name) {
  const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return found === undefined ? null : found.slice(name.length + 1);
}

function write(name, value, how) {
  document.cookie = `${name}=${value}${how}`;
}
