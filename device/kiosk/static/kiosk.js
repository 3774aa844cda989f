// The visitor's page: shows what it is told, sends what is typed. It decides nothing.
import { ask, find, icon, make, tell, tellRefusal } from "/static/ask.js";
import { offer, shine } from "/static/lamp.js";
import { Pad } from "/static/pad.js";
import { fallSilent, play, say } from "/static/sound.js";
import { begin, moment, onPaint, settings, speak, word } from "/static/words.js";

const LOST_MS = 1500; // beats come every half second; the door's thread is missed after three
const IDLE_MS = 30000; // an open pad or notice goes away, and the language falls back to the site's own
const CLOCK_MS = 12000; // a pressed key for coming or going waits so long for its face
const TONES = { granted: "granted", refused: "refused", locked: "refused", ask: "ask", alarm: "alarm" };

let view = { shape: "looking", title: "screen.looking", advice: "", name: "", needs: [], serial: 0 };
let told = ""; // what was last played and said
let beaten = 0; // of the newest beat, on the page's own clock
let idle = 0;
let pressed = 0;
let pad = null;

function paintView() {
  document.body.dataset.shape = view.shape;
  find("sign-use").setAttribute("href", `/static/signs.svg#${view.shape}`);
  const isAtRest = view.shape === "ready" || view.shape === "looking";
  find("shape").textContent = isAtRest ? "" : word(`shape.${view.shape}`);
  find("title").textContent = word(view.title, { name: view.name });
  const ways = view.needs.map((way) => word(`way.${way}`)).join(" + ");
  const then = ways && word("way.then", { ways });
  find("advice").textContent = [word(view.advice), then].filter(Boolean).join(" · ");
}

function hear() {
  const key = `${view.shape} ${view.title} ${view.serial}`;
  if (key === told) return;
  told = key;
  play(TONES[view.shape]);
  if (view.shape === "ready") fallSilent();
  else say(view.title);
}

function paintTime() {
  const isSure = settings.zone !== undefined;
  find("time").textContent = isSure ? moment(new Date(), { timeStyle: "short" }) : "";
}

function paintWays() {
  const ways = [...(settings.ways || []), ...(settings.bell ? ["bell"] : [])];
  find("ways-list").replaceChildren(...ways.map((way) => {
    const text = word(way === "bell" ? "bell.ring" : `way.${way}`);
    return make("li", {}, make("button", { type: "button", "data-way": way, onclick: () => choose(way) },
      icon(way), text));
  }));
  find("ways").hidden = ways.length === 0;
  find("clocking").hidden = !settings.attendance;
  find("name").textContent = settings.door || "";
  for (const name of ["purpose", "retention", "contact"]) {
    find(name).textContent = settings[name] || word("privacy.unsaid");
  }
}

function choose(way) {
  if (way === "pin") openPad(["number", "pin"]);
  else if (way === "bell") ring();
  else {
    tell(word(`way.show_${way}`));
    say(`way.show_${way}`);
  }
}

async function ring() {
  try {
    await ask("/bell", {});
    play("bell");
    say("bell.rung");
    tell(word("bell.rung"));
  } catch (error) {
    tellRefusal(error);
  }
}

async function clock(direction) {
  try {
    const answer = await ask("/clock", { direction });
    if (answer.is_kept) kept();
    else await wait(direction);
  } catch (error) {
    tellRefusal(error);
  }
}

function kept() {
  release();
  tell(word("attendance.kept"));
  say("attendance.kept");
}

async function wait(direction) {
  release();
  document.querySelector(`[data-direction=${direction}]`).setAttribute("aria-pressed", "true");
  tell(word("attendance.look"));
  pressed = setTimeout(release, CLOCK_MS);
}

function release() {
  clearTimeout(pressed);
  pressed = 0;
  for (const key of find("clocking").children) key.setAttribute("aria-pressed", "false");
}

// --- the pad ---

function openPad(fields) {
  find("pin-label").dataset.word = fields.length > 1 ? "pin.enter" : "pin.only";
  find("pin-label").textContent = word(find("pin-label").dataset.word);
  pad.only(fields);
  if (!find("pin").open) find("pin").showModal();
  say(find("pin-label").dataset.word);
}

async function sendPad() {
  const { number, pin } = pad.values;
  if (number && !pin && pad.chosen === "number") {
    pad.choose("pin");
    return;
  }
  if (!pin || find("pin-ok").disabled) return;
  find("pin-ok").disabled = true;
  pad.clear();
  try {
    await ask("/pin", { number, pin });
    find("pin").close();
    tell(word("pin.sent"));
  } catch (error) {
    tellRefusal(error);
  } finally {
    find("pin-ok").disabled = false;
  }
}

// --- what the door says ---

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("view", (event) => {
    view = JSON.parse(event.data);
    if (view.needs.includes("pin")) openPad(["pin"]);
    if (view.shape === "granted" && pressed) kept();
    if (view.shape !== "ready" && view.shape !== "looking") find("news").hidden = true;
    paintView();
    hear();
  });
  source.addEventListener("flash", (event) => shine(JSON.parse(event.data)));
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
    closeDialogs();
  }
}

function showPicture() {
  const preview = find("preview");
  const again = () => { preview.src = `/preview?${Date.now()}`; };
  preview.addEventListener("error", () => {
    find("no-picture").hidden = false;
    setTimeout(again, 2000);
  });
  preview.addEventListener("load", () => { find("no-picture").hidden = true; });
  again();
}

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function stayAwake() {
  clearTimeout(idle);
  idle = setTimeout(() => {
    closeDialogs();
    speak(settings.language);
  }, IDLE_MS);
}

function wire() {
  pad = new Pad(find("pin-pad"), [
    { name: "number", word: "pin.number", most: settings.number_digits, isSecret: false },
    { name: "pin", word: "pin.pin", most: settings.pin_digits[1], isSecret: true },
  ], sendPad);
  find("privacy-open").addEventListener("click", () => find("privacy").showModal());
  find("more-open").addEventListener("click", () => find("more").showModal());
  for (const button of document.querySelectorAll(".close")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  find("pin-close").addEventListener("click", () => find("pin").close());
  find("pin-ok").addEventListener("click", sendPad);
  find("pin").addEventListener("close", () => pad.clear());
  for (const key of find("clocking").children) key.addEventListener("click", () => clock(key.dataset.direction));
  find("to-enrol").parentElement.hidden = settings.enrol === "off";
  find("to-own").parentElement.hidden = !settings.own;
  find("to-setup").parentElement.hidden = !settings.setup;
  find("more-open").hidden = settings.enrol === "off" && !settings.own && !settings.setup;
  for (const event of ["pointerdown", "keydown"]) document.addEventListener(event, stayAwake);
}

onPaint(() => {
  paintWays();
  paintView();
  paintTime();
});
await begin();
wire();
beaten = performance.now();
listen();
showPicture();
offer();
stayAwake();
setInterval(watch, 250);
setInterval(paintTime, 1000);
