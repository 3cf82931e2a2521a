// The flags of the measuring scripts: --name=value over `options`, whose values say which kind each is. Anything else ends the program.
export function readFlags(options) {
  for (const flag of process.argv.slice(2)) {
    const [, name, value] = /^--(\w+)(?:=(.*))?$/.exec(flag) ?? [];
    const kind = typeof options[name];
    const number = Number(value);
    const fits = kind === "boolean" ? [undefined, "true", "false"].includes(value) : value !== undefined && (kind !== "number" || (value !== "" && !Number.isNaN(number)));
    if (!Object.hasOwn(options, name) || !fits) {
      console.error(`${flag}: there are ${Object.entries(options).map(([known, byDefault]) => `--${known}=${byDefault}`).join(", ")}`);
      process.exit(2);
    }
    options[name] = kind === "number" ? number : kind === "boolean" ? value !== "false" : value;
  }
  return options;
}
