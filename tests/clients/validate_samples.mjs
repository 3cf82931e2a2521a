// Holds the lines "schema<tab>JSON" that a program prints against OpenAI's description of its API; without that file
// there is nothing to hold them against: 77.
//   node validate_samples.mjs PROGRAM
import { execFileSync } from "node:child_process";
import { isOfficial, validatorOf } from "./schema.mjs";

if (!isOfficial) {
  console.error("SKIPPED: there is no openapi.json");
  process.exit(77);
}
let count = 0;
let bad = 0;
const seen = {};
for (const line of execFileSync(process.argv[2], { encoding: "utf8", maxBuffer: 1 << 28 }).split("\n")) {
  if (line === "") continue;
  const tab = line.indexOf("\t");
  const name = line.slice(0, tab);
  const validate = validatorOf(name);
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
