// The init container's script: what it compares, fetches, remembers and refuses.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { chart, render, workloads } from "./charts.mjs";

const script = path.join(chart, "files/model/checkpoint.sh");
const content = { "config.json": "{}\n", "parts/one.safetensors": "weights" };

function setUp(t, files = {}) {
  const root = mkdtempSync(path.join(tmpdir(), "tessera-checkpoint-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const place = { root, folder: path.join(root, "models/m"), sums: path.join(root, "SHA256SUMS"), source: path.join(root, "source") };
  const write = (folder, all) => {
    for (const [name, text] of Object.entries(all)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
  };
  write(place.source, content);
  if (Object.keys(files).length > 0) write(place.folder, files);
  const digest = (text) => createHash("sha256").update(text).digest("hex");
  writeFileSync(place.sums, Object.entries(content).map(([name, text]) => `${digest(text)}  ${name}\n`).join(""));
  return place;
}

function start({ folder, sums, source, root }, ...command) {
  return new Promise((resolve) => {
    execFile("/bin/sh", [script, folder, sums, ...command], { env: { PATH: process.env.PATH, SOURCE: source, ROOT: root } },
      (error, _, stderr) => resolve({ status: error?.code ?? 0, stderr }));
  });
}
const copy = ["sh", "-c", 'echo ran >>"$ROOT/runs"; cp -r "$SOURCE/." "$TARGET"'];
const runs = ({ root }) => (existsSync(path.join(root, "runs")) ? readFileSync(path.join(root, "runs"), "utf8").split("\n").length - 1 : 0);

test("a folder that is right is compared once", async (t) => {
  const place = setUp(t, content);
  assert.equal((await start(place)).status, 0);
  // Remembered: what is no longer right is not read again.
  writeFileSync(path.join(place.folder, "config.json"), "changed");
  const again = await start(place);
  assert.equal(again.status, 0);
  assert.match(again.stderr, /compared before/);
  // Until other sums are asked for.
  writeFileSync(place.sums, readFileSync(place.sums, "utf8") + `${"0".repeat(64)}  absent\n`);
  assert.equal((await start(place)).status, 1);
});

test("a folder that is wrong, or not there, is refused and named", async (t) => {
  const wrong = setUp(t, { ...content, "config.json": "{ }\n" });
  const answer = await start(wrong);
  assert.equal(answer.status, 1);
  assert.match(answer.stderr, /config\.json: FAILED/);
  const lacking = await start(setUp(t, { "config.json": "{}\n" }));
  assert.equal(lacking.status, 1);
  assert.match(lacking.stderr, /one\.safetensors/);
  const absent = await start(setUp(t));
  assert.equal(absent.status, 1);
  assert.match(absent.stderr, /is not there, and no command/);
});

test("what is not there is fetched, compared, and put in place whole", async (t) => {
  const place = setUp(t);
  assert.equal((await start(place, ...copy)).status, 0);
  assert.equal(readFileSync(path.join(place.folder, "parts/one.safetensors"), "utf8"), "weights");
  assert.deepEqual(readdirSync(path.dirname(place.folder)).sort(), ["m", "m.lock"]);
  assert.equal((await start(place, ...copy)).status, 0);
  assert.equal(runs(place), 1);
});

test("the command is told which files are wanted, and who cannot write is told why", async (t) => {
  const place = setUp(t);
  writeFileSync(place.sums, readFileSync(place.sums, "utf8").split("\n")[0] + "\n"); // as a gateway's list
  const some = await start(place, "sh", "-c", 'for file in $FILES; do cp "$SOURCE/$file" "$TARGET/$file"; done');
  assert.equal(some.status, 0, some.stderr);
  assert.deepEqual(readdirSync(place.folder).sort(), [".verified", "config.json"]);

  const closed = setUp(t);
  writeFileSync(path.join(closed.root, "models"), "no folder");
  const refused = await start(closed, ...copy);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /user \d+ cannot write to .*models, .* chown it/);
});

test("gateways with folders of their own want no weights", async () => {
  const listOf = (all, name) => workloads(all).find((workload) => workload.name === name).spec.initContainers[0].args[1].split("/").at(-1);
  const values = ["--values", path.join(chart, "values/fetched-checkpoint.yaml")];
  const own = await render({ name: "own folders", args: values });
  const { data } = own.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name.endsWith("-checkpoint"));
  assert.equal(listOf(own, "rel-tessera-gateway"), "SHA256SUMS.gateway");
  assert.equal(listOf(own, "rel-tessera-router"), "SHA256SUMS");
  assert.deepEqual(data["SHA256SUMS.gateway"].match(/\S+$/gm), ["config.json"]);
  assert.deepEqual(data.SHA256SUMS.match(/\S+$/gm), ["config.json", "model.safetensors"]);
  const shared = await render({ name: "one volume", args: ["--values", path.join(chart, "values/shared-checkpoint.yaml")] });
  assert.equal(listOf(shared, "rel-tessera-gateway"), "SHA256SUMS"); // whoever comes first fills it for all
});

test("a folder of the node is not made by the kubelet, whose it would be", async () => {
  const args = ["--values", path.join(chart, "values/fetched-checkpoint.yaml"), "--set", "model.storage.type=hostPath"];
  for (const { name, spec } of workloads(await render({ name: "a folder of the node", args }))) {
    assert.equal(spec.volumes.find(({ name: volume }) => volume === "models").hostPath.type, "Directory", name);
  }
});

test("pods that share a volume fetch once", async (t) => {
  const place = setUp(t);
  const answers = await Promise.all(Array.from({ length: 4 }, () => start(place, ...copy)));
  assert.deepEqual(answers.map(({ status }) => status), [0, 0, 0, 0]);
  assert.equal(runs(place), 1);
});

test("a fetch that breaks off is continued, one that is wrong is thrown away", async (t) => {
  const place = setUp(t);
  const half = await start(place, "sh", "-c", 'cp "$SOURCE/config.json" "$TARGET"; exit 3');
  assert.equal(half.status, 1);
  assert.ok(existsSync(`${place.folder}.part/config.json`));
  assert.ok(!existsSync(place.folder));
  const rest = await start(place, "sh", "-c", 'test -e "$TARGET/config.json" && cp -r "$SOURCE/parts" "$TARGET"');
  assert.equal(rest.status, 0, rest.stderr);

  const other = setUp(t);
  const wrong = await start(other, "sh", "-c", 'cp -r "$SOURCE/." "$TARGET"; echo more >>"$TARGET/config.json"');
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /it was removed/);
  assert.ok(!existsSync(other.folder) && !existsSync(`${other.folder}.part`));
});
