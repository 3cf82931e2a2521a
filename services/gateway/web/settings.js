// What a user may set, from text fields and back. No DOM.

const blank = { temperature: "", maxTokens: "", system: "", tools: "" };

function readTools(text) {
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (error) {
    throw new Error(`Tools are no JSON: ${error.message}`);
  }
  if (!Array.isArray(tools)) throw new Error("Tools are to be a JSON list: [ … ]");
  return tools.length > 0 ? tools : null;
}

// Fields as texts; an empty one leaves the choice to the server and is null. Throws an Error for people.
export function readSettings(fields) {
  const { temperature, maxTokens, system, tools } = { ...blank, ...fields };
  const settings = { temperature: null, maxTokens: null, system: system.trim(), tools: null };
  if (temperature.trim() !== "") {
    const value = Number(temperature.trim().replace(",", "."));
    if (!(value >= 0 && value <= 2)) throw new Error("Temperature is to be a number from 0 to 2");
    settings.temperature = value;
  }
  if (maxTokens.trim() !== "") {
    const value = Number(maxTokens);
    if (!Number.isInteger(value) || value < 1) throw new Error("Tokens at most is to be a whole number from 1");
    settings.maxTokens = value;
  }
  if (tools.trim() !== "") settings.tools = readTools(tools);
  return settings;
}

// Keeps the fields in `storage` (localStorage); a browser that refuses storage just forgets.
export class SettingsStore {
  #storage;
  #name;
  fields;
  constructor(storage, name = "tessera.settings") {
    this.#storage = storage;
    this.#name = name;
    try {
      this.fields = { ...blank, ...JSON.parse(storage.getItem(name) ?? "{}") };
      readSettings(this.fields);
    } catch {
      this.fields = { ...blank };
    }
  }
  get settings() {
    return readSettings(this.fields);
  }
  // Throws as readSettings does, and keeps nothing then.
  keep(fields) {
    readSettings(fields);
    this.fields = { ...fields };
    try {
      this.#storage.setItem(this.#name, JSON.stringify(this.fields));
    } catch {
      // Full or forbidden: they hold until the page is left.
    }
  }
}
