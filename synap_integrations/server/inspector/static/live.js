// A page that grows: a transcript at its end, the event stream at its beginning. Not EventSource, which cannot send the key in a header; the format is the same, and so is
// the way back: after a break the reader says how far it was, and gets what it missed.
import { ask, here } from "./app.js";
import { localTime, parsed } from "./page.js";

const MOST = 500;
const AGAIN_MS = 1000;

export async function follow(line, signal) {
  const url = line.dataset.live;
  line.dataset.last ??= new URL(url, location.origin).searchParams.get("after");
  while (!signal.aborted) {
    try {
      const answer = await ask(url, { signal, headers: { "Last-Event-ID": line.dataset.last, Accept: "text/event-stream" } });
      if (!answer.ok) return tell("not live", false);
      tell("live", true);
      for await (const event of events(answer.body)) {
        if (event.data) put(line, event.data);
        line.dataset.last = event.id ?? line.dataset.last;
      }
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    if (signal.aborted) return;
    tell("reconnecting", false);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const whole = held.split("\n\n");
    held = whole.pop();
    for (const text of whole) {
      const event = { data: "", id: null };
      const data = [];
      for (const field of text.split("\n")) {
        if (field.startsWith("data: ")) data.push(field.slice(6));
        else if (field.startsWith("id: ")) event.id = field.slice(4);
      }
      event.data = data.join("\n");
      yield event;
    }
  }
}

let waiting = [];
function put(line, html) {
  if (!waiting.length) requestAnimationFrame(() => draw(line));
  waiting.push(html);
  if (waiting.length > MOST) waiting.shift(); // a page in the background is not drawn
}

function draw(line) {
  const first = line.dataset.newest === "first";
  const atEnd = !first && window.innerHeight + window.scrollY >= document.body.scrollHeight - 120;
  const batch = waiting;
  waiting = [];
  for (const html of batch) {
    const entry = document.adoptNode(parsed(html).querySelector("li, tbody > tr"));
    if (!entry) continue;
    for (const clock of entry.querySelectorAll("time[data-clock]")) localTime(clock);
    for (const link of entry.querySelectorAll("a[href]")) {
      const inside = here(link.getAttribute("href"));
      if (inside) link.setAttribute("href", inside);
    }
    const old = document.getElementById(entry.id);
    if (old) {
      if (old.querySelector("details")?.open && entry.querySelector("details")) entry.querySelector("details").open = true;
      old.replaceWith(entry);
    } else {
      entry.classList.add("fresh");
      line[first ? "prepend" : "append"](entry);
    }
  }
  while (line.children.length > MOST) line[first ? "lastElementChild" : "firstElementChild"].remove();
  if (line.children.length) reveal(line);
  if (atEnd) window.scrollTo({ top: document.body.scrollHeight });
}

// The table is hidden as long as it is empty.
function reveal(line) {
  line.closest("[hidden]")?.removeAttribute("hidden");
  document.getElementById("none")?.setAttribute("hidden", "");
}

export function tell(text, on) {
  const light = document.getElementById("live");
  if (!light) return;
  light.hidden = false;
  light.textContent = text;
  light.classList.toggle("on", on);
}
