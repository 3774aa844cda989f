// The state's tab: faults, recognition, clock, network, hub, in plain rows.
import { find, make } from "/static/ask.js";
import { moment, word } from "/static/words.js";

function card(title, ...lines) {
  return make("article", { class: "card" }, make("h2", {}, word(title)), make("ul", {},
    ...lines.filter(Boolean).map((line) => make("li", {}, line))));
}

function faults(live) {
  const lines = live.faults.map((code) => word(`reason.${code}`));
  return card("setup.faults", ...(lines.length ? lines : [word("setup.no_faults")]));
}

function recognition({ status }) {
  const budget = { n: status.fpir_asked * 1000 };
  return card("setup.recognition", word("setup.people", status), status.model_id,
    word("setup.threshold", { n: status.threshold.toFixed(3) }),
    word(status.fpir_met ? "setup.budget_met" : "setup.budget_missed", budget), `${word("setup.tab_liveness")}: ${status.liveness}`);
}

function camera({ status }) {
  return card("setup.camera", status.camera, `${status.camera_state} · ${status.fps.toFixed(1)} fps`);
}

function clock({ clock: found }) {
  return card("setup.clock", moment(found.at, { dateStyle: "medium", timeStyle: "medium" }), found.zone,
    word(`setup.clock_${found.quality}`));
}

function network({ network: found }) {
  const rows = found.interfaces.map((one) => {
    const state = word(one.is_up ? "setup.up" : "setup.down") + (one.speed_mbit ? `, ${one.speed_mbit} Mbit/s` : "");
    return `${one.name}: ${state} · ${[...one.addresses, one.hardware].filter(Boolean).join(" · ")}`;
  });
  return card("setup.network", ...(rows.length ? rows : [word("setup.no_network")]),
    found.gateway && word("setup.gateway", { at: found.gateway }),
    found.name_servers.length && word("setup.name_servers", { at: found.name_servers.join(", ") }));
}

function hub({ tie }) {
  if (!tie.is_linked) return card("setup.hub", word("setup.alone"));
  if (tie.said) return card("setup.hub", tie.said);
  const state = tie.is_up === null ? word("setup.link_unknown")
    : tie.is_up ? word("setup.link_up") : word("setup.link_down", { n: Math.round(tie.silent_s || 0) });
  return card("setup.hub", word("setup.linked", { terminal: tie.terminal_id, site: tie.site, broker: tie.broker }), state,
    tie.waiting !== null && word("setup.waiting", { n: tie.waiting }));
}

function journal({ status }) {
  return card("setup.journal", word("setup.entries", { n: status.journal_entries }),
    `${word("setup.memory")}: ${Math.round(status.memory_mb)} MiB`);
}

function paint(live) {
  find("facts").replaceChildren(...[faults, recognition, camera, clock, network, hub, journal].map((make) => make(live)));
}

export const stateTab = { paint };
