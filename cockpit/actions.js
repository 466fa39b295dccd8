// What a person can do: buttons that say what became of it.

import { host } from "./host.js";
import { h, words } from "./elements.js";

const PATIENCE = 5000;
const SAID = 10000;
let forgets = null;
const done = () => document.getElementById("done");

function say(text, isBad = false) {
  done().className = isBad ? "bad" : "";
  done().textContent = text;
  clearTimeout(forgets);
  forgets = setTimeout(() => { done().textContent = ""; }, SAID);
}

// A button: `act` promises the words for what was done.  With `sure` it asks that first, and a second press does it.
export function button(text, act, sure = "") {
  const it = h("button", { type: "button", onclick: press, onblur: reset }, text);
  let timer = null, busy = false;

  function reset() {
    clearTimeout(timer);
    timer = null;
    it.textContent = text;
    it.classList.remove("danger");
  }

  async function press(event) {
    if (busy || event.detail > 1) return;  // the second click of a double one answers no question
    if (sure && timer === null) {
      it.textContent = sure;
      it.classList.add("danger");
      timer = setTimeout(reset, PATIENCE);
      return;
    }
    reset();
    busy = true;
    it.setAttribute("aria-disabled", "true");
    try { say(await act()); } catch (error) { say(words(error), true); }
    busy = false;
    it.removeAttribute("aria-disabled");
    host.touch();
  }

  return it;
}
