// Every value that a view writes into its address would be an entry of its own, and the first of them one that leads
// nowhere: the address without any value. Another view is a new entry, another value of the same view is not.
export default function () {
  if (window.saeevalOneEntry) return; // this function runs again at every redraw
  window.saeevalOneEntry = true;
  const push = history.pushState.bind(history);
  history.pushState = (state, unused, url) =>
    samePlace(url) ? history.replaceState(state, unused, url) : push(state, unused, url);
}

function samePlace(url) {
  return Boolean(url) && new URL(url, location.href).pathname === location.pathname;
}
