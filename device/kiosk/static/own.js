// A person's own page: two proofs, then what is held and what may be done with it. Nothing of it is kept here.
import { ask, carry, find, make, tell, tellRefusal } from "/static/ask.js";
import { close as closeKeyboard, provide } from "/static/keyboard.js";
import { Pad } from "/static/pad.js";
import { say } from "/static/sound.js";
import { begin, has, moment, onPaint, word } from "/static/words.js";

const LOOK_MS = 400;
const STAY_MS = 5000; // a touch is told to the terminal so often at most
const MEANS = ["paper", "screen", "verbal"];

let stage = "";
let proof = {};
let held = null;
let receipt = null;
let pad = null;
let act = "";
let asking = false;
let stayed = 0;
let until = 0;

function paint() {
  for (const one of document.querySelectorAll("main > section")) one.hidden = one.id !== stage;
  const preview = find("preview");
  preview.alt = word("page.picture");
  if (stage === "face" && !preview.getAttribute("src")) preview.src = `/preview?${Date.now()}`;
  else if (stage !== "face") preview.removeAttribute("src");
  find("proof-how").textContent = word(proof.has_card ? "own.prove_card" : "own.prove");
  if (held) paintHeld();
  if (receipt) paintReceipt();
  paintLeft();
}

function paintLeft() {
  const isOpen = stage === "open";
  find("left").textContent = isOpen ? word("page.seconds_left", { n: Math.max(Math.round((until - Date.now()) / 1000), 0) }) : "";
}

function row(key, ...inside) {
  return [make("dt", {}, word(key)), make("dd", {}, ...inside)];
}

function validity() {
  const from = held.valid_from && word("own.valid_from", { at: moment(held.valid_from) });
  const to = held.valid_until && word("own.valid_until", { at: moment(held.valid_until) });
  return [from, to].filter(Boolean).join(" ") || word("own.valid_always");
}

function consentRows() {
  if (!held.consent) return [word("own.no_consent")];
  const means = word(MEANS.includes(held.consent.means) ? `own.means_${held.consent.means}` : "own.means_other");
  return [word("own.consent_given", { at: moment(held.consent.given_at), means }),
    make("small", {}, word("own.record", { id: held.consent.id.slice(0, 8) }))];
}

function paintHeld() {
  const faces = held.templates
    ? word("own.faces_since", { n: held.templates, at: moment(held.newest_template, { dateStyle: "medium" }) })
    : word("own.none");
  find("held").replaceChildren(
    ...row("own.name", make("bdi", {}, held.label)), ...row("own.groups", held.groups.join(", ") || word("own.none")),
    ...row("own.valid", validity()), ...row("own.faces", faces),
    ...row("own.cards", String(held.cards || word("own.none"))),
    ...row("own.numbers", held.numbers.join(", ") || word("own.none")), ...row("own.consent", ...consentRows()));
  find("passes").replaceChildren(...(held.passes.length ? held.passes.map(passed) : [make("li", {}, word("own.no_passes"))]));
  find("asked").hidden = !held.requests.length;
  find("requests").replaceChildren(...held.requests.map((one) => make("li", {}, word(`own.request_${one.kind}`),
    make("small", {}, `${moment(one.at)} · ${word(`own.state_${one.state}`)}`))));
}

function passed(one) {
  const direction = one.direction && has(`own.direction_${one.direction}`) ? `, ${word(`own.direction_${one.direction}`)}` : "";
  return make("li", {}, make("span", {}, word(`reason.${one.reason}`) + direction),
    make("time", { datetime: one.at }, moment(one.at, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" })));
}

function paintReceipt() {
  find("receipt-what").textContent = word(receipt.is_done ? `own.receipt_${receipt.kind}` : "own.receipt_asked");
  const lines = [moment(receipt.at), word("own.receipt_id", { id: receipt.person_id.slice(0, 8) })];
  if (receipt.is_done && receipt.kind !== "correct") {
    lines.push(word("own.receipt_counts", { faces: receipt.templates, credentials: receipt.credentials }),
      word(receipt.is_gone ? "own.receipt_gone" : "own.receipt_not_gone"),
      word(receipt.is_erased ? "own.receipt_erased" : "own.receipt_not_erased"), word("own.receipt_journal"));
  }
  if (!receipt.is_done) lines.push(word("own.hub_sure"));
  find("receipt-lines").replaceChildren(...lines.map((line) => make("li", {}, line)));
}

function turn(fresh) {
  if (fresh === stage) return;
  stage = fresh;
  if (stage === "proof") pad.clear();
  if (stage === "closed") held = null;
  paint();
  if (stage === "face") say("own.look");
}

async function look() {
  if (asking || stage === "receipt" || !stage) return;
  asking = true;
  try {
    const before = stage;
    const found = await ask("/own/state");
    carry(found.token);
    proof = found;
    until = Date.now() + 1000 * (found.left_s || 0);
    if (found.stage === "open" && !held) await show();
    if (before === "open" && found.stage === "closed") forget();
    turn(found.stage);
    paintLeft();
  } catch (error) {
    if (stage !== "closed") tellRefusal(error);
    turn("closed");
  } finally {
    asking = false;
  }
}

async function show() {
  held = await ask("/own/all");
  paint();
}

async function start() {
  try {
    const answer = await ask("/own/begin", {});
    carry(answer.token);
    await look();
  } catch (error) {
    tellRefusal(error);
  }
}

async function prove() {
  const digits = pad.values.pin;
  if (digits.length < proof.pin[0] || find("prove").disabled) return;
  find("prove").disabled = true;
  pad.clear();
  try {
    const found = await ask("/own/prove", { pin: digits });
    carry(found.token);
    await look();
  } catch (error) {
    tellRefusal(error);
  } finally {
    find("prove").disabled = false;
  }
}

function openSure(wanted) {
  act = wanted;
  const isLinked = held.is_linked;
  find("sure-what").textContent = word(`own.${act}`);
  const how = isLinked ? "own.hub_sure" : act === "correct" ? "" : `own.${act}_sure`;
  find("sure-how").textContent = act === "correct" && isLinked ? word("own.correct_hub") : word(how);
  find("sure-field").hidden = act !== "correct" || isLinked;
  find("sure-label").value = held.label;
  find("sure-label").maxLength = held.label_most;
  find("sure-yes").textContent = word(isLinked ? "own.ask" : act === "correct" ? "own.save" : "own.sure");
  find("sure-yes").className = act === "delete" ? "grave" : "main";
  find("sure").showModal();
}

async function carryOut() {
  find("sure-yes").disabled = true;
  try {
    const body = act === "correct" ? { label: held.is_linked ? "" : find("sure-label").value } : { is_sure: true };
    receipt = await ask(`/own/${act}`, body);
    find("sure").close();
    held = null;
    turn("receipt");
  } catch (error) {
    tellRefusal(error);
  } finally {
    find("sure-yes").disabled = false;
  }
}

async function goOn() {
  const isOver = receipt.kind === "delete" && receipt.is_done;
  receipt = null;
  find("receipt-lines").replaceChildren();
  if (isOver) {
    leave();
    return;
  }
  stage = "closed";
  await look();
}

function forget() {
  held = null;
  for (const id of ["held", "passes", "requests"]) find(id).replaceChildren();
  if (find("sure").open) find("sure").close();
  closeKeyboard();
  tell(word("page.session_over"));
}

async function leave() {
  await ask("/own/leave", {}).catch(() => {});
  location.assign("/");
}

function touched() {
  if (stage !== "open" || Date.now() - stayed < STAY_MS) return;
  stayed = Date.now();
  ask("/own/stay", {}).catch(() => {});
}

onPaint(paint);
await begin();
provide();
pad = new Pad(find("pad"), [{ name: "pin", word: "pin.pin", most: 12, isSecret: true }], prove);
find("begin").addEventListener("click", start);
find("prove").addEventListener("click", prove);
for (const id of ["leave", "cancel", "close"]) find(id).addEventListener("click", leave);
for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", () => openSure(button.dataset.act));
}
find("sure-no").addEventListener("click", () => find("sure").close());
find("sure").addEventListener("close", closeKeyboard);
find("sure-yes").addEventListener("click", carryOut);
find("receipt-done").addEventListener("click", goOn);
for (const event of ["pointerdown", "keydown"]) document.addEventListener(event, touched);
// Whoever goes back to this page by the browser's history finds it closed.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
turn("closed");
await look();
setInterval(look, LOOK_MS);
