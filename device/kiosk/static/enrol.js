// Enrolment: consent, the mirror, the review. What counts is judged by the terminal; here it is only shown.
import { ask, carry, find, icon, make, tell, tellRefusal } from "/static/ask.js";
import { provide } from "/static/keyboard.js";
import { fallSilent, play, say } from "/static/sound.js";
import { begin, has, onPaint, settings, word } from "/static/words.js";

const LOOK_MS = 150; // a pose is held for less than half a second: what is said about it must not lag
const SECTIONS = { consent: "consent", posing: "posing", proving: "posing", review: "review", refused: "refused",
  kept: "kept" };
const STEPS = { consent: 0, posing: 1, proving: 1, review: 2, refused: 1, kept: 3 };

let state = { stage: "" };
let consent = null;
let asking = false;
let isKept = false;

function stageOf() {
  return isKept ? "kept" : state.stage;
}

function paint() {
  const stage = stageOf();
  const section = SECTIONS[stage] || (stage ? "closed" : "");
  for (const one of document.querySelectorAll("main > section")) one.hidden = one.id !== section;
  document.querySelector("main").dataset.stage = stage;
  paintSteps(STEPS[stage]);
  if (section === "closed") paintClosed(stage);
  if (section === "consent") paintConsent();
  if (section === "posing") paintPosing();
  if (section === "review") paintReview();
  if (section === "refused") find("refused-why").textContent = word(state.advice);
  showMirror(section === "posing");
}

function paintSteps(place) {
  find("steps").hidden = place === undefined;
  [...find("steps").children].forEach((step, number) => {
    step.classList.toggle("past", number < place);
    if (number === place) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
}

function paintClosed(why) {
  find("closed-why").textContent = word(`enrol.closed_${why}`);
  const contact = state.contact || settings.contact;
  find("closed-contact").textContent = contact ? word("enrol.ask_contact", { contact }) : "";
  find("to-setup").hidden = why !== "supervised" || !settings.setup;
}

function paintConsent() {
  consent = state.consent || consent;
  for (const language of ["en", "zh"]) find(`text-${language}`).textContent = consent.text[language];
  for (const name of ["kinds", "purposes"]) {
    find(name).replaceChildren(...consent[name].map((key) => make("li", {}, word(key))));
  }
  find("retention").textContent = state.retention || word("enrol.until_withdrawn");
}

function paintPosing() {
  const pose = state.poses[state.place];
  const isProving = state.stage === "proving";
  document.querySelector("main").dataset.pose = isProving ? "" : pose;
  put("pose", word(isProving ? state.advice : `enrol.pose_${pose}`));
  put("advice", isProving ? "" : word(helpful(state.advice, pose)));
  const firm = isProving ? 0 : (100 * state.firm) / state.of;
  document.querySelector(".ring").style.strokeDasharray = `${firm} 100`;
  find("dots").replaceChildren(...state.poses.map((name, number) => make("li", {
    class: number < state.place ? "past" : "", "aria-current": !isProving && number === state.place ? "step" : null,
  }, number < state.place ? icon("done") : null, word(`enrol.short_${name}`))));
  say(isProving ? state.advice : `enrol.pose_${pose}`);
}

// A text that stays the same is not said again by a screen reader.
function put(id, text) {
  if (find(id).textContent !== text) find(id).textContent = text;
}

// What only repeats the pose's own words is left out.
function helpful(advice, pose) {
  return advice === "enrol.turn_to_camera" && pose === "front" ? "" : advice;
}

function paintReview() {
  if (!find("shots").children.length) {
    find("shots").replaceChildren(...state.poses.map((name, number) => make("li", {},
      make("img", { src: `/enrol/shot/${number}?${Date.now()}`, alt: word(`enrol.short_${name}`) }),
      make("span", { "data-word": `enrol.short_${name}` }, word(`enrol.short_${name}`)))));
  }
  find("label").maxLength = state.label;
  find("number").maxLength = state.number;
  find("pin").maxLength = state.pin[1];
  find("card-field").hidden = !state.is_supervised;
}

function showMirror(isShown) {
  const preview = find("preview");
  preview.alt = word("page.picture");
  if (isShown && !preview.getAttribute("src")) preview.src = `/preview?${Date.now()}`;
  else if (!isShown) preview.removeAttribute("src");
}

async function look() {
  if (asking || isKept) return;
  asking = true;
  try {
    const before = state;
    state = await ask("/enrol/state");
    carry(state.token);
    if (state.stage !== before.stage || JSON.stringify(state) !== JSON.stringify(before)) changed(before);
  } catch (error) {
    tellRefusal(error);
  } finally {
    asking = false;
  }
}

function changed(before) {
  if (before.place !== undefined && state.place > before.place) play("taken");
  if (before.stage && before.stage !== "consent" && state.stage === "consent") tell(word("page.session_over"), true);
  if (state.stage !== "review") find("shots").replaceChildren();
  const isSameReview = before.stage === "review" && state.stage === "review";
  if (!isSameReview) paint();
}

async function open() {
  find("begin").disabled = true;
  try {
    const answer = await ask("/enrol/begin", { has_agreed: find("agree").checked, version: consent.version });
    carry(answer.token);
    await look();
  } catch (error) {
    tellRefusal(error);
  } finally {
    find("agree").checked = false;
  }
}

async function anew() {
  try {
    find("shots").replaceChildren();
    fallSilent();
    await ask("/enrol/anew", {});
    await look();
  } catch (error) {
    tellRefusal(error);
  }
}

async function keep() {
  const label = find("label").value.trim();
  if (!label) {
    find("label").focus();
    return;
  }
  find("keep").disabled = true;
  try {
    await ask("/enrol/keep", { label, number: find("number").value, pin: find("pin").value, card: find("card").value });
    isKept = true;
    find("form").reset();
    play("granted");
    paint();
  } catch (error) {
    tellRefusal(error, state.is_supervised && has(error.key) && error.status === 409);
  } finally {
    find("keep").disabled = false;
  }
}

async function leave() {
  if (state.token && !isKept) await ask("/enrol/leave", {}).catch(() => {});
  location.assign("/");
}

onPaint(paint);
await begin();
provide();
find("agree").addEventListener("change", () => { find("begin").disabled = !find("agree").checked; });
find("begin").addEventListener("click", open);
find("anew").addEventListener("click", anew);
find("again").addEventListener("click", anew);
find("keep").addEventListener("click", keep);
find("leave").addEventListener("click", leave);
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep();
});
await look();
setInterval(look, LOOK_MS);
