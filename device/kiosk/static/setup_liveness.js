// The commissioning wizard: one presentation after the other, then this door's card.
import { ask, find, make, tell, tellRefusal } from "/static/ask.js";
import { moment, word } from "/static/words.js";

const FOLLOW_MS = 300;

let round = null;
let people = 2;
let isBusy = false;

async function open() {
  try {
    round = await ask("/setup/tries");
    paint();
  } catch (error) {
    tellRefusal(error);
  }
}

async function act(path, body) {
  isBusy = true;
  paint();
  try {
    round = await ask(path, body);
  } catch (error) {
    tellRefusal(error, true);
  } finally {
    isBusy = false;
    paint();
  }
}

async function watch() {
  const asked = setInterval(follow, FOLLOW_MS);
  await act("/setup/watch", {});
  clearInterval(asked);
}

// While a presentation goes on: what the visitor is asked to do.
async function follow() {
  const found = await ask("/setup/tries").catch(() => null);
  if (found && isBusy) {
    round = found;
    paint();
  }
}

async function conclude() {
  isBusy = true;
  paint();
  try {
    await ask("/setup/card", {});
    await open();
  } catch (error) {
    tellRefusal(error, true);
  } finally {
    isBusy = false;
    paint();
  }
}

async function take(threshold) {
  try {
    await ask("/setup/change", { changes: { "face.liveness_threshold": threshold } });
    tell(word("setup.changed"));
  } catch (error) {
    tellRefusal(error, true);
  }
}

function paint() {
  if (!round) return;
  find("wizard").replaceChildren(...wizard());
  find("stored").replaceChildren(...stored(round.stored));
}

function button(text, onclick, isMain = true) {
  return make("button", { type: "button", class: isMain ? "main" : "", onclick, disabled: isBusy }, text);
}

function wizard() {
  if (!round.steps.length) return first();
  const heard = round.last ? make("p", { role: "status" }, word(`setup.try_${round.last}`)
    + (round.score === null ? "" : ` (${round.score.toFixed(2)})`)) : null;
  if (round.is_done) return [heard, button(word("setup.try_conclude"), conclude)].filter(Boolean);
  const [species, light] = round.steps[round.place];
  const anew = isBusy ? null : button(word("setup.try_anew"), () => act("/setup/begin", { people }), false);
  return [make("p", { class: "soft" }, word("setup.try_place", { n: round.place + 1, of: round.steps.length })),
    make("p", { class: "lead" }, word(`setup.try_${species}`)), make("p", {}, word(`setup.try_${light}`)), heard,
    isBusy ? make("p", { role: "status", class: "badge" }, word(round.advice) || word("setup.try_watching"))
      : make("div", { class: "row" }, button(word("setup.try_next"), watch), anew)].filter(Boolean);
}

function first() {
  const choice = make("select", { id: "people", onchange: (event) => { people = Number(event.target.value); } },
    ...[1, 2, 3, 4, 5, 6].map((n) => make("option", { value: n, selected: n === people }, String(n))));
  return [make("p", {}, word("setup.try_how")),
    make("label", { class: "field" }, make("span", {}, word("setup.try_people")), choice),
    button(word("setup.try_begin"), () => act("/setup/begin", { people }))];
}

function stored(card) {
  if (!card) return [make("p", { class: "soft" }, word("setup.card_none"))];
  const refused = Math.round(card.bpcer * card.live_tries);
  const lines = [word("setup.card_made", { at: moment(card.made_at) }),
    word("setup.card_live", { n: refused, of: card.live_tries }),
    word("setup.card_attack", { n: Math.round(card.apcer_worst * 100) }),
    card.proposed === null ? "" : word("setup.card_proposed", { n: card.proposed }),
    card.is_stale ? word("setup.card_old") : "", ...card.warnings];
  const found = lines.filter(Boolean).map((line) => make("p", {}, line));
  if (card.proposed !== null) found.push(button(word("setup.card_take"), () => take(card.proposed), false));
  return found;
}

export const liveness = { open, paint };
