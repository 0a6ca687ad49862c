// The frame: who may read (the key), which page is shown, and the keys of the keyboard.
//
// At `/` this file fetches the pages below /read/ with the key in a header and shows them here; the address of a page
// is then behind the `#`. Below /read/ itself the browser has asked for the key, and pages are whole documents.
import { enhance, parsed, release } from "./page.js";

const KEY = "synap-key";
const shell = document.body.dataset.mode === "shell";
const PARTS = ["header.top", "main", "footer"];
const door = shell ? document.cloneNode(true) : null;
let loading = new AbortController();

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

// With a key of our own the browser must not ask for one: a refused key is answered here.
export function ask(path, options = {}) {
  const credentials = sessionStorage.getItem(KEY) ? "omit" : "same-origin";
  return fetch(path, { ...options, headers: headers(options.headers), credentials });
}

export function say(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { notice.hidden = true; }, 4000);
}

function route() {
  const place = location.hash.slice(1);
  return place.startsWith("/") ? `/read${place}` : "/read/";
}

// An address below /read/ as it is called here.
export function here(href) {
  if (href.startsWith("#")) return null;
  const url = new URL(href, location.origin + (shell ? route() : location.pathname));
  return shell && url.origin === location.origin && url.pathname.startsWith("/read/")
    ? `/#${url.pathname.slice(5)}${url.search}` : null;
}

export function go(path) {
  if (shell) location.hash = path.slice(5);
  else location.assign(path);
}

// The key in what was pasted: the key itself, or the address that it is in.
function pasted(text) {
  const inside = /#key=(.+)$/.exec(text.trim());
  return inside ? decodeURIComponent(inside[1]) : text.trim();
}

function showDoor(refused) {
  replace(door.cloneNode(true));
  document.getElementById("wrong-key").hidden = !refused;
  document.getElementById("key-form").hidden = false;
  document.getElementById("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, pasted(document.getElementById("key").value));
    show();
  });
  document.getElementById("key").focus();
}

async function show() {
  if (!sessionStorage.getItem(KEY)) return showDoor(false);
  loading.abort();
  loading = new AbortController();
  const main = document.querySelector("main");
  main.classList.add("loading");
  try {
    const path = route();
    const answer = await ask(path, { signal: loading.signal });
    if (answer.status === 401) {
      sessionStorage.removeItem(KEY);
      return showDoor(true);
    }
    if (!answer.headers.get("content-type")?.startsWith("text/html")) {
      main.classList.remove("loading");
      return say((await answer.json().catch(() => null))?.detail ?? "This is not a page.");
    }
    put(parsed(await answer.text()));
    document.body.dataset.shown = path;
  } catch (error) {
    if (error.name === "AbortError") return;
    main.classList.remove("loading");
    say("The server does not answer. Is it still running?");
  }
}

function replace(page) {
  release();
  document.title = page.title;
  for (const part of PARTS) {
    const fresh = page.querySelector(part);
    if (fresh) document.querySelector(part).replaceWith(document.adoptNode(fresh));
  }
}

function put(page) {
  replace(page);
  window.scrollTo(0, 0);
  begin();
  document.querySelector("main").focus({ preventScroll: true });
}

function begin() {
  enhance(document);
  if (!shell) return;
  for (const link of document.querySelectorAll("a[href]")) {
    const inside = link.hasAttribute("data-download") ? null : here(link.getAttribute("href"));
    if (inside) link.setAttribute("href", inside);
  }
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  if (link.hasAttribute("data-download") && sessionStorage.getItem(KEY)) {
    event.preventDefault();
    await download(link.getAttribute("href"));
  } else if (link.getAttribute("href").startsWith("#") && link.hash.length > 1 && shell) {
    event.preventDefault();
    document.getElementById(link.hash.slice(1))?.scrollIntoView();
  }
});

async function download(path) {
  const answer = await ask(path);
  if (!answer.ok) return say("This could not be exported.");
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? "conversation";
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await answer.blob()), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`Saved ${name}`);
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest?.("form[data-get]");
  if (!form) return;
  event.preventDefault();
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  if (document.getElementById("redact").getAttribute("aria-checked") === "true") query.set("redact", "1");
  go(`${form.getAttribute("action")}?${query}`);
});

const PLACES = { c: "/read/", e: "/read/events", p: "/read/bundles", m: "/read/users", h: "/read/health" };
let going = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const place = going && PLACES[event.key];
  going = event.key === "g";
  if (place) go(place);
  else if (event.key === "p") document.querySelector("[data-pause]")?.click();
  else if (event.key === "r") document.getElementById("redact")?.click();
  else if (event.key === "/") {
    const field = document.getElementById("q");
    if (!field) return;
    event.preventDefault();
    field.focus();
  }
});

if (shell) {
  const take = () => {
    if (!location.hash.startsWith("#key=")) return;
    sessionStorage.setItem(KEY, pasted(location.hash));
    history.replaceState(null, "", "/#/");
  };
  take();
  window.addEventListener("hashchange", () => {
    take();
    show();
  });
  show();
} else {
  begin();
}
