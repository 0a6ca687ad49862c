// What a page can do once it is shown. Pages come from this server's templates, which escape every value.
import { ask, go, say } from "./app.js";
import { follow, tell } from "./live.js";
import { plot } from "./plots.js";

const policy = window.trustedTypes?.createPolicy("synap-pages", { createHTML: (html) => html })
  ?? { createHTML: (html) => html };
let following = null;

export function parsed(html) {
  return new DOMParser().parseFromString(policy.createHTML(html), "text/html");
}

// What the page that is left was doing.
export function release() {
  following?.abort();
  following = null;
}

export function enhance(root) {
  for (const clock of root.querySelectorAll("time[data-clock]")) localTime(clock);
  for (const figure of root.querySelectorAll("[data-plot]")) plot(figure);
  const form = root.querySelector("form[data-forget]");
  if (form) confirmable(form);
  const unfold = root.querySelector("[data-unfold]");
  if (unfold) foldable(unfold);
  const line = root.querySelector("[data-live]");
  if (!line) return;
  start(line);
  const pause = root.querySelector("[data-pause]");
  if (pause) pausable(pause, line);
}

function start(line) {
  following = new AbortController();
  follow(line, following.signal);
}

// A page that is paused reads nothing; it goes on where it was, so that nothing is kept meanwhile.
function pausable(button, line) {
  button.hidden = false;
  button.addEventListener("click", () => {
    if (following) {
      release();
      tell("paused", false);
    } else {
      start(line);
    }
    button.textContent = following ? "Pause" : "Resume";
  });
}

export function localTime(clock) {
  const moment = new Date(clock.dateTime);
  const today = moment.toDateString() === new Date().toDateString();
  clock.title = `${clock.textContent} UTC`;
  clock.textContent = moment.toLocaleString(undefined, today
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
    : { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

function foldable(button) {
  button.hidden = !document.querySelector(".transcript details");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    for (const details of document.querySelectorAll(".transcript details")) details.open = open;
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Fold all" : "Unfold all";
  });
}

function confirmable(form) {
  const field = form.querySelector("input");
  const button = form.querySelector("button");
  field.addEventListener("input", () => { button.disabled = field.value !== form.dataset.confirm; });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    const answer = await ask(form.dataset.forget, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ confirm: field.value }),
    });
    if (!answer.ok) {
      button.disabled = false;
      say(answer.status === 401 ? "Open the address with the key to forget somebody." : "Nothing was forgotten.");
      return;
    }
    const { forgotten } = await answer.json();
    say(`Forgotten: ${forgotten.turns} turns.`);
    go("/read/users");
  });
}
