// What a browser without the key gets instead of a page: it goes on with the key that this tab has, or is given here,
// to the same page at `/`, which sends the key in a header.
const KEY = "synap-key";
const place = location.pathname.startsWith("/read/") ? location.pathname.slice(5) + location.search : "/";

function enter(text) {
  const inside = /#key=(.+)$/.exec(text.trim());
  sessionStorage.setItem(KEY, inside ? decodeURIComponent(inside[1]) : text.trim());
  location.replace(`/#${place}`);
}

if (location.hash.startsWith("#key=")) {
  enter(location.hash);
} else if (sessionStorage.getItem(KEY)) {
  location.replace(`/#${place}`);
} else {
  const form = document.getElementById("key-form");
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(document.getElementById("key").value);
  });
  document.getElementById("key").focus();
}
