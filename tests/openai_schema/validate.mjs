// Validates lines of "schema<tab>JSON" on standard input against OpenAI's description of its API.
//   node validate.mjs OPENAPI.json < samples      (needs the package ajv)
// The file mixes OpenAPI 3.0's `nullable` into 3.1: it is rewritten to JSON Schema first.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const Ajv = require("ajv/dist/2020").default;

function rewrite(node) {
  if (Array.isArray(node)) return node.map(rewrite);
  if (node === null || typeof node !== "object") return node;
  const out = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === "discriminator" || key === "example") continue;
    out[key] = key === "enum" || key === "const" || key === "default" ? value : rewrite(value);
  }
  if (out.nullable !== true) return out;
  delete out.nullable;
  if (out.$ref || out.allOf || out.oneOf) return { anyOf: [out, { type: "null" }] };
  if (out.anyOf) out.anyOf = [...out.anyOf, { type: "null" }];
  if (out.type) out.type = [].concat(out.type, "null");
  if (out.enum && !out.enum.includes(null)) out.enum = [...out.enum, null];
  return out;
}

const api = JSON.parse(readFileSync(process.argv[2], "utf8"));
const schemas = api.components.schemas;
// The file describes no chunk of a streamed text completion: the reply, with null where a chunk has nothing to say.
const chunk = structuredClone(schemas.CreateCompletionResponse);
chunk.properties.choices.items.properties.finish_reason.nullable = true;
chunk.properties.usage = { ...chunk.properties.usage, nullable: true };
schemas.CompletionChunk = chunk;

const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false, logger: false });
ajv.addSchema({ $id: "openai", components: rewrite(api.components) });

let count = 0;
let bad = 0;
const seen = {};
for (const line of readFileSync(0, "utf8").split("\n")) {
  if (line === "") continue;
  const tab = line.indexOf("\t");
  const name = line.slice(0, tab);
  const validate = ajv.getSchema(`openai#/components/schemas/${name}`);
  seen[name] = (seen[name] ?? 0) + 1;
  ++count;
  if (validate(JSON.parse(line.slice(tab + 1)))) continue;
  ++bad;
  console.error(`${name}: ${line.slice(tab + 1, tab + 600)}`);
  for (const error of validate.errors.slice(0, 6)) {
    console.error(`  ${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`);
  }
}
console.log(`${count} samples, ${bad} of them not as the schema says:`, seen);
process.exit(bad > 0 || count < 50 ? 1 : 0);
