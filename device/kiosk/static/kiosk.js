// The kiosk's page: shows what it is told, sends what is typed. It decides nothing.
"use strict";

const LOST_MS = 1500; // beats come every half second; the door's thread is missed after one
const IDLE_MS = 30000; // an open pad or notice goes away, and the language falls back to the site's own
const find = (id) => document.getElementById(id);

let words = {};
let settings = {};
let language = "en";
let view = { shape: "looking", title: "screen.looking", advice: "", name: "", needs: [], serial: 0 };
let beaten = 0; // of the newest beat, on the page's own clock
let digits = "";
let idle = 0;

function word(key) {
  return key && words[key] ? words[key][language] : "";
}

function paintWords() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = word(element.dataset.word);
  }
  find("preview").alt = word("screen.ready");
  paintWays();
  paintView();
}

function paintView() {
  document.body.dataset.shape = view.shape;
  find("sign-use").setAttribute("href", `/static/signs.svg#${view.shape}`);
  find("title").textContent = word(view.title).replace("{name}", view.name);
  const needs = view.needs.map((way) => word(`way.${way}`)).join(" + ");
  find("advice").textContent = [word(view.advice), needs].filter(Boolean).join(" · ");
}

function paintWays() {
  const list = find("ways-list");
  list.replaceChildren();
  for (const way of settings.ways || []) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.way = way;
    button.textContent = word(`way.${way}`);
    button.addEventListener("click", () => choose(way));
    item.append(button);
    list.append(item);
  }
  find("ways").hidden = list.children.length === 0;
}

function choose(way) {
  if (way === "pin") {
    openPad();
  } else {
    find("advice").textContent = word(`way.show_${way}`);
  }
}

// --- the pad ---

function makePad() {
  for (const key of ["1", "2", "3", "4", "5", "6", "7", "8", "9", "clear", "0", "back"]) {
    const button = document.createElement("button");
    button.type = "button";
    if (key === "clear") button.dataset.word = "pin.clear";
    else button.textContent = key === "back" ? "⌫" : key;
    if (key === "back") button.setAttribute("aria-label", "⌫");
    button.dataset.key = key;
    button.addEventListener("click", () => press(key));
    find("pin-keys").append(button);
  }
}

function press(key) {
  if (key === "clear") digits = "";
  else if (key === "back") digits = digits.slice(0, -1);
  else if (digits.length < settings.digits) digits += key;
  find("pin-dots").textContent = "•".repeat(digits.length);
}

function openPad() {
  press("clear");
  if (!find("pin").open) find("pin").showModal();
}

async function sendPad() {
  if (!digits) return;
  const body = JSON.stringify({ digits });
  press("clear");
  find("pin-ok").disabled = true;
  try {
    const answer = await fetch("/pin", { method: "POST", headers: { "content-type": "application/json" }, body });
    if (answer.ok) find("pin").close();
  } catch {
    // the page says "out of order" by itself when the beats stop
  } finally {
    find("pin-ok").disabled = false;
  }
}

// --- what the door says ---

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("view", (event) => {
    view = JSON.parse(event.data);
    if (view.needs.includes("pin")) openPad();
    paintView();
  });
  source.addEventListener("beat", () => {
    beaten = performance.now();
    find("lost").hidden = true;
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      source.close();
      setTimeout(listen, 1000);
    }
  });
}

function watch() {
  const isLost = performance.now() - beaten > LOST_MS;
  if (isLost && find("lost").hidden) {
    find("lost").hidden = false;
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  }
}

function showPicture() {
  const preview = find("preview");
  preview.addEventListener("error", () => {
    find("no-picture").hidden = false;
    setTimeout(showPicture.again, 2000);
  });
  preview.addEventListener("load", () => { find("no-picture").hidden = true; });
  showPicture.again = () => { preview.src = `/preview?${Date.now()}`; };
  showPicture.again();
}

function stayAwake() {
  clearTimeout(idle);
  idle = setTimeout(() => {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    press("clear");
    speak(settings.language);
  }, IDLE_MS);
}

function speak(wanted) {
  language = wanted === "zh" ? "zh" : "en";
  paintWords();
}

async function begin() {
  for (;;) {
    try {
      const answer = await fetch("/words");
      ({ words, settings } = await answer.json());
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  makePad();
  for (const name of ["purpose", "retention", "contact"]) find(name).textContent = settings[name];
  find("language").addEventListener("click", () => speak(language === "zh" ? "en" : "zh"));
  find("privacy-open").addEventListener("click", () => find("privacy").showModal());
  find("privacy-close").addEventListener("click", () => find("privacy").close());
  find("pin-close").addEventListener("click", () => find("pin").close());
  find("pin-ok").addEventListener("click", sendPad);
  find("pin").addEventListener("close", () => press("clear"));
  document.addEventListener("pointerdown", stayAwake);
  speak(settings.language);
  beaten = performance.now();
  listen();
  showPicture();
  setInterval(watch, 250);
}

begin();
