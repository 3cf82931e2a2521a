// Puts the page together: key, model, settings, readiness; chat.js and cluster.js are its two halves.

import { Api } from "./api.js";
import { Chat } from "./chat.js";
import { ClusterView } from "./cluster.js";
import { byId, element, repeat, say } from "./dom.js";
import { SettingsStore } from "./settings.js";

const readyPauseMs = 2000;
const keyName = "tessera.key";

// Storage that holds until the page is left, for browsers that refuse theirs.
function storageOf(name) {
  try {
    return window[name];
  } catch {
    const kept = new Map();
    return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  }
}

const session = storageOf("sessionStorage");
const settings = new SettingsStore(storageOf("localStorage"));
const api = new Api(() => session.getItem(keyName) ?? "");

// Key

function askForKey(error) {
  byId("key-open").hidden = false;
  if (byId("key-dialog").open) return;
  say(byId("key-why"), api.key() ? error.message : "This gateway answers only those who have a key.");
  byId("key").value = "";
  byId("key-dialog").showModal();
}

byId("key-open").addEventListener("click", () => byId("key-dialog").showModal());
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  session.setItem(keyName, byId("key").value.trim());
  byId("key-dialog").close();
  readyNow();
  cluster.askNow();
});

// Model

let modelsKnownFor = null; // the key they were listed for

async function listModels() {
  if (modelsKnownFor === api.key()) return;
  const key = api.key();
  const models = await api.models();
  modelsKnownFor = key;
  byId("key-open").hidden = key === "";
  const chosen = byId("model").value;
  byId("model").replaceChildren(...models.map(({ id }) => element("option", { value: id, text: id })));
  if (models.some(({ id }) => id === chosen)) byId("model").value = chosen;
}

// Readiness

function showReady(state, text) {
  byId("ready").dataset.state = state;
  say(byId("ready"), text);
}

let refusedKey = null; // not asked about again by itself

async function askReady() {
  try {
    const why = await api.unready();
    showReady(why === "" ? "ready" : "waiting", why === "" ? "ready" : why);
    if (why === "" && refusedKey !== api.key()) await listModels();
  } catch (error) {
    if (error.status === 401) {
      refusedKey = api.key();
      askForKey(error);
    } else if (error.status === 0) {
      showReady("gone", error.message);
    } else {
      showReady("waiting", error.message);
    }
  }
}

// Settings

const fields = { temperature: "temperature", maxTokens: "max-tokens", system: "system", tools: "tools" };

byId("settings-open").addEventListener("click", () => {
  for (const [name, id] of Object.entries(fields)) byId(id).value = settings.fields[name];
  say(byId("settings-problem"), "");
  byId("settings-dialog").showModal();
});
byId("settings-form").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    settings.keep(Object.fromEntries(Object.entries(fields).map(([name, id]) => [name, byId(id).value])));
    byId("settings-dialog").close();
  } catch (error) {
    say(byId("settings-problem"), error.message);
  }
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// The two halves; on a narrow screen one at a time

function look(view) {
  document.body.dataset.view = view;
  for (const each of ["chat", "cluster"]) byId(`view-${each}`).setAttribute("aria-pressed", String(each === view));
}
byId("view-chat").addEventListener("click", () => look("chat"));
byId("view-cluster").addEventListener("click", () => {
  look("cluster");
  cluster.askNow();
});

new Chat(api, { model: () => byId("model").value, settings: () => settings.settings, onRefused: askForKey });
const cluster = new ClusterView(api);
const readyNow = repeat(askReady, readyPauseMs);
if (matchMedia("(hover: hover)").matches) byId("prompt").focus(); // elsewhere it would raise a keyboard of glass
