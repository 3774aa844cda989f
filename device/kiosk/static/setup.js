// The installer's page: the PIN, the tabs, and what each of them shows. What is dangerous is asked twice.
import { ask, carry, find, make, tell, tellRefusal } from "/static/ask.js";
import { provide } from "/static/keyboard.js";
import { Pad } from "/static/pad.js";
import { camera } from "/static/setup_camera.js";
import { liveness } from "/static/setup_liveness.js";
import { settingsTab } from "/static/setup_settings.js";
import { stateTab } from "/static/setup_state.js";
import { begin, moment, onPaint, word } from "/static/words.js";

const LIVE_MS = 250; // a lens is turned by hand: the needle must follow
const STAY_MS = 30000;
const PAST_MS = 3000;
const TABS = ["camera", "wires", "state", "past", "liveness", "settings", "claim"];

let isIn = false;
let chosen = "camera";
let live = null;
let pad = null;
let stayed = 0;
let asking = false;
let entries = [];
let claimed = null;
let sureOf = null;

function paint() {
  find("entry").hidden = isIn;
  find("inside").hidden = !isIn;
  find("leave").hidden = !isIn;
  find("tabs").replaceChildren(...TABS.map((name) => make("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": name, "aria-selected": String(name === chosen),
    tabindex: name === chosen ? "0" : "-1", onclick: () => choose(name),
  }, word(`setup.tab_${name}`))));
  for (const name of TABS) find(name).hidden = name !== chosen;
  camera.show(isIn && chosen === "camera");
  paintLive();
  paintPast();
  paintClaim();
  liveness.paint();
  settingsTab.paint();
}

function choose(name) {
  chosen = name;
  paint();
  if (name === "past") lookBack();
  if (name === "claim") lookClaim();
  if (name === "liveness") liveness.open();
  if (name === "settings") settingsTab.open();
}

function stepTab(event) {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!way) return;
  choose(TABS[(TABS.indexOf(chosen) + way + TABS.length) % TABS.length]);
  find(`tab-${chosen}`).focus();
}

// --- who is in ---

async function enter() {
  const digits = pad.values.pin;
  if (!digits || find("enter").disabled) return;
  find("enter").disabled = true;
  pad.clear();
  try {
    carry((await ask("/setup/enter", { pin: digits })).token);
    isIn = true;
    why("");
    paint();
    await look();
  } catch (error) {
    why(error.key);
  } finally {
    find("enter").disabled = false;
  }
}

function why(key) {
  find("entry-why").dataset.word = key;
  find("entry-why").textContent = word(key);
  find("entry-why").hidden = !key;
}

async function leave() {
  await ask("/setup/leave", {}).catch(() => {});
  over("");
}

function over(key) {
  isIn = false;
  live = null;
  entries = [];
  carry("");
  if (find("sure").open) find("sure").close();
  why(key);
  paint();
}

function touched() {
  if (!isIn || Date.now() - stayed < STAY_MS) return;
  stayed = Date.now();
  ask("/setup/stay", {}).catch(() => {});
}

// --- what it shows ---

async function look() {
  if (!isIn || asking) return;
  asking = true;
  try {
    live = await ask("/setup/live");
    paintLive();
  } catch (error) {
    if (error.status === 401) over("page.session_over");
    else if (error.status !== 0) tellRefusal(error);
  } finally {
    asking = false;
  }
}

function paintLive() {
  if (!live) return;
  if (chosen === "camera") camera.paint(live);
  if (chosen === "wires") paintWires();
  if (chosen === "state") stateTab.paint(live);
}

function paintWires() {
  find("inputs").replaceChildren(...(live.wires.length ? live.wires.map((wire) => make("li", {},
    make("span", {}, word(`setup.wire_${wire.name}`), make("small", {}, word("setup.pin_number", { n: wire.pin }))),
    make("span", { class: wire.is_active ? "badge active" : "badge" }, word(wire.word))))
    : [make("li", {}, word("setup.no_inputs"))]));
  find("lock-kind").textContent = `${word(`setup.lock_${live.door.lock}`)} · ${word("setup.pin_number", { n: live.door.pin })}`;
  const state = find("lock-state");
  state.textContent = word(!live.door.relay_alive ? "setup.relay_lost" : live.door.is_released ? "setup.released" : "setup.secure");
  state.className = `badge ${!live.door.relay_alive ? "bad" : live.door.is_released ? "good" : ""}`;
}

async function lookBack() {
  try {
    entries = await ask("/setup/past");
    paintPast();
  } catch (error) {
    if (error.status !== 401) tellRefusal(error);
  }
}

function paintPast() {
  find("no-entries").hidden = entries.length > 0;
  find("entries").replaceChildren(...entries.map((one) => make("tr", {},
    make("td", {}, moment(one.at, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" })),
    make("td", {}, word(`reason.${one.reason}`) || one.reason), make("td", {}, one.person), make("td", {}, one.detail))));
}

async function lookClaim() {
  try {
    claimed = await ask("/setup/claim");
    paintClaim();
  } catch (error) {
    tellRefusal(error);
  }
}

function paintClaim() {
  if (!claimed) return;
  const { serial, code, tie } = claimed;
  find("serial").textContent = serial;
  find("code").textContent = code;
  find("code").hidden = find("code-label").hidden = !code;
  find("label").hidden = !code;
  find("label").alt = word("setup.label");
  if (code && !find("label").getAttribute("src")) find("label").src = "/setup/label";
  find("claim-how").textContent = tie.is_linked
    ? word("setup.claimed", { terminal: tie.terminal_id, site: tie.site }) : word("setup.claim_how");
}

// --- asked twice ---

export async function askTwice(path, question, yes, then) {
  try {
    const { sure } = await ask(path, { sure: "" });
    find("sure-what").textContent = word(question);
    find("sure-yes").textContent = word(yes);
    sureOf = async () => {
      await ask(path, { sure });
      then();
    };
    find("sure").showModal();
  } catch (error) {
    tellRefusal(error);
  }
}

async function sure() {
  find("sure").close();
  try {
    await sureOf();
  } catch (error) {
    tellRefusal(error);
  }
}

onPaint(paint);
await begin();
provide();
pad = new Pad(find("pad"), [{ name: "pin", word: "setup.pin", most: 12, isSecret: true }], enter);
camera.begin();
settingsTab.begin(askTwice);
find("enter").addEventListener("click", enter);
find("leave").addEventListener("click", leave);
find("home").addEventListener("click", () => location.assign("/"));
find("tabs").addEventListener("keydown", stepTab);
find("relay").addEventListener("click", () => askTwice("/setup/relay", "setup.relay_sure", "setup.relay_yes",
  () => tell(word("setup.relay_asked"))));
find("sure-no").addEventListener("click", () => find("sure").close());
find("sure-yes").addEventListener("click", sure);
for (const event of ["pointerdown", "keydown"]) document.addEventListener(event, touched);

const found = await ask("/setup/state").catch(() => ({}));
isIn = Boolean(found.is_in);
carry(found.token);
if (!isIn) why(found.locked_s ? "setup.pin_locked" : found.is_set === false ? "setup.pin_unset" : "");
paint();
await look();
setInterval(look, LIVE_MS);
setInterval(() => { if (isIn && chosen === "past") lookBack(); }, PAST_MS);
