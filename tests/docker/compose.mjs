// Reads of compose.yaml what tests need. Enough of YAML would be a parser of its own: what matters here is found in its lines.

import { readFileSync } from "node:fs";

// Our own services: [{name, program, args}], variables replaced by their defaults.
export function readServices(file) {
  const text = readFileSync(file, "utf8");
  const found = [...text.matchAll(/^ {2}([a-z0-9-]+):\n {4}<<: \*tessera\n {4}command:\n((?: {6}- .*\n)+)/gm)];
  return found.map(([, name, lines]) => {
    const [program, ...args] = lines.trim().split("\n").map((line) => line.trim().slice(2).replace(/\$\{\w+:-([^}]*)\}/, "$1"));
    return { name, program, args };
  });
}

export function graceSeconds(file) {
  return Number(/stop_grace_period: (\d+)s/.exec(readFileSync(file, "utf8"))[1]);
}
