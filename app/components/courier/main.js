// Presses that no view could deliver go from here to the server: see common/press.js.
import { carry } from "../common/press.js";

export default function ({ data, setTriggerValue }) {
  carry(data, (message) => setTriggerValue("did", message));
}
