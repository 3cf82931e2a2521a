// Reads a Dockerfile: [{stage, from, steps: [{instruction, args, line}]}]. Comments and continued lines as Docker has them.

import { readFileSync } from "node:fs";

export function readDockerfile(file) {
  const stages = [];
  let text = "";
  let line = 0;
  readFileSync(file, "utf8").split("\n").forEach((raw, i) => {
    if (/^\s*#/.test(raw) || (text === "" && raw.trim() === "")) return;
    if (text === "") line = i + 1;
    text += raw.replace(/\\\s*$/, " ");
    if (/\\\s*$/.test(raw)) return;
    const [, instruction, args] = /^\s*([A-Z]+)\s+(.*?)\s*$/s.exec(text) ?? [];
    if (instruction === undefined) throw new Error(`${file}:${line}: '${text.trim()}' is no instruction`);
    text = "";
    if (instruction === "FROM") {
      const [, from, stage] = /^(\S+)(?:\s+AS\s+(\S+))?$/.exec(args);
      stages.push({ from, stage: stage ?? String(stages.length), steps: [], line });
    } else {
      if (stages.length === 0) throw new Error(`${file}:${line}: ${instruction} before FROM`);
      stages.at(-1).steps.push({ instruction, args, line });
    }
  });
  return stages;
}

// Packages that RUN steps of a stage install.
export function packagesOf({ steps }) {
  return steps
    .filter(({ instruction }) => instruction === "RUN")
    .flatMap(({ args }) => args.split("&&"))
    .filter((command) => /apt-get install/.test(command))
    .flatMap((command) => command.replace(/.*apt-get install/, "").trim().split(/\s+/))
    .filter((word) => !word.startsWith("-"));
}
