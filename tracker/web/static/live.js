// What the pages gain with JavaScript: figures that follow the network, curves that stay fresh, links copied by a click.
// Nothing needs it.
"use strict";

const FRESH_MS = 60000;

// Numbers are written just as the server writes them, else a figure would change though nothing has.
const even = { roundingMode: "halfEven" };
const three = new Intl.NumberFormat("en", { ...even, maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { ...even, maximumFractionDigits: 0 });
const plain = new Intl.NumberFormat("en", { ...even, maximumFractionDigits: 0, useGrouping: false });

function count(number) {
  for (const [power, letter] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"]]) {
    const value = number / power;
    if (value >= 1) return `${(value >= 99.95 ? whole : three).format(value)} ${letter}`;
  }
  return whole.format(number);
}

function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 999.5) return `${(unit === "B" || value >= 99.95 ? plain : three).format(value)} ${unit}`;
    value /= 1024;
  }
  return `${(value >= 99.95 ? plain : three).format(value)} TiB`;
}

// A figure of the statistics by its name on the page; of the present moment, or beside it. 0 is left out on the wire.
function figure(statistics, key) {
  const value = statistics.now[key] ?? statistics[key] ?? 0;
  return Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function show(statistics) {
  for (const place of document.querySelectorAll("[data-live]")) {
    const value = figure(statistics, place.dataset.live);
    const text = value === null ? place.textContent : (place.dataset.unit === "size" ? size : count)(value);
    if (place.textContent !== text) {
      place.textContent = text;
      place.classList.remove("changed");
      void place.offsetWidth; // starts the animation over
      place.classList.add("changed");
    }
  }
}

function follow() {
  let events = null;
  const listen = () => {
    if (document.hidden) {
      events?.close(); // a browser keeps few connections to one site, and a hidden page needs none
      events = null;
    } else if (events === null) {
      events = new EventSource("/api/v1/events");
      events.addEventListener("statistics", (event) => {
        show(JSON.parse(event.data));
        document.documentElement.dataset.state = "live";
      });
      events.addEventListener("error", () => delete document.documentElement.dataset.state);
    }
  };
  document.addEventListener("visibilitychange", listen);
  window.addEventListener("pagehide", () => events?.close());
  listen();
}

async function redraw() {
  const charts = document.querySelector("[data-fresh]");
  if (document.hidden || charts === null) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return; // the next time, perhaps
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-fresh]");
  if (fresh !== null) charts.replaceWith(fresh);
}

async function copy(text, button) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copied = copyFromField(text); // no clipboard on plain HTTP
  }
  const name = button.dataset.name;
  button.textContent = copied ? "Copied" : "Press Ctrl+C";
  document.querySelector("[data-said]").textContent = copied ? "Copied to the clipboard" : "";
  setTimeout(() => { button.textContent = name; }, 2000);
}

function copyFromField(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}

function button(name, label, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "copy";
  made.textContent = name;
  made.dataset.name = name;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", () => copy(text, made));
  return made;
}

for (const place of document.querySelectorAll(".copyable")) {
  const code = place.querySelector("code");
  place.append(button("Copy", `Copy: ${code.getAttribute("aria-label")}`, code.textContent));
}
for (const link of document.querySelectorAll("a[data-copy]")) {
  const name = link.closest(".found").querySelector(".name").textContent;
  link.replaceWith(button("Copy link", `Copy the link to ${name}`, link.dataset.copy));
}
if (document.querySelector("[data-live]") !== null) follow();
if (document.querySelector("[data-fresh]") !== null) setInterval(redraw, FRESH_MS);
