// Executes the Dockerfile's instructions as far as files and commands go: see chroot.sh, which starts this in
// namespaces of its own, so that mounts go with it.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, homedir, loadavg } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readDockerfile } from "./dockerfile.mjs";

const [sources, folder] = process.argv.slice(2);
const stages = readDockerfile(path.join(sources, "docker/Dockerfile"));
const throughCcache = process.env.TESSERA_CHROOT_CCACHE === "1";
const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root", DEBIAN_FRONTEND: "noninteractive" };
const cacheLog = path.join(environment.HOME, ".cache/ccache.log"); // of the cache, in the build stage
if (throughCcache) {
  environment.CCACHE_STATSLOG = cacheLog;
  // Of its key: compilers speak this language.
  for (const name of ["LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES"]) if (process.env[name]) environment[name] = process.env[name];
}

function command(name, ...args) {
  execFileSync(name, args, { stdio: "inherit" });
}

// Of the children that have ended, all their processors together.
function cpuSeconds() {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(13, 15);
  return (Number(user) + Number(system)) / 100; // USER_HZ of proc(5)
}

function inside(root, workdir, user, ...args) {
  const { status, signal } = spawnSync("chroot", [`--userspec=${user}`, root, "/bin/sh", "-c", 'cd "$0" && exec "$@"', workdir, ...args],
    { env: environment, stdio: "inherit" });
  if (status !== 0) throw new Error(`${args.join(" ")}: ${signal ?? `exit code ${status}`}`);
}

function copyFromContext(root, destination) {
  const ignored = readFileSync(path.join(sources, "docker/Dockerfile.dockerignore"), "utf8")
    .split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  for (const line of ignored) assert.match(line, /^[\w.]+$/, "only names at the top are understood here");
  const archive = path.join(folder, "context.tar");
  command("tar", "-cf", archive, ...ignored.map((name) => `--exclude=./${name}`), "-C", sources, ".");
  mkdirSync(destination, { recursive: true });
  command("tar", "-xf", archive, "--no-same-owner", "-C", destination);
}

// The stage's root folder, with its steps done. `roots`: those of earlier stages.
function build({ stage, from, steps }, roots) {
  const root = path.join(folder, `stage-${stage}`);
  command("rm", "-rf", root);
  command("cp", "-a", roots[from] ?? path.join(folder, "base"), root);
  command("cp", "-L", "/etc/resolv.conf", path.join(root, "etc/resolv.conf"));
  command("mount", "-t", "proc", "proc", path.join(root, "proc"));
  let workdir = "/";
  let user = "0:0";
  let ended;
  for (const { instruction, args, line } of steps) {
    console.log(`==== ${stage}:${line} ${instruction} ${args.replace(/\s+/g, " ").slice(0, 100)}`);
    const begin = Date.now();
    const before = { cpu: cpuSeconds(), load: loadavg() };
    if (instruction === "WORKDIR") {
      workdir = args;
      mkdirSync(path.join(root, workdir), { recursive: true });
    } else if (instruction === "USER") {
      user = args;
    } else if (instruction === "RUN") {
      inside(root, workdir, user, "/bin/sh", "-c", args);
      if (throughCcache && /\bg\+\+ /.test(args)) useCcache(root);
    } else if (instruction === "COPY") {
      const [, other, source, target] = /^(?:--from=(\S+) )?(\S+) (\S+)$/.exec(args);
      const destination = path.join(root, path.resolve(workdir, target));
      if (other) command("cp", "-a", `${path.join(roots[other], source)}/.`, destination);
      else copyFromContext(root, destination);
    } else if (instruction === "CMD") {
      ended = { root, workdir, user, args: JSON.parse(args) };
    }
    const [cpu, load] = [cpuSeconds() - before.cpu, [before.load[0], loadavg()[0]].map((one) => one.toFixed(1))];
    console.log(`==== ${((Date.now() - begin) / 1000).toFixed(1)} s, ${cpu.toFixed(1)} s of processors; ` +
      `load ${load[0]} before, ${load[1]} after, ${availableParallelism()} processors`);
    if (throughCcache) tellCache(root);
  }
  roots[stage] = root;
  return ended;
}

// Not a step of the Dockerfile, and it does not change what the steps make: what this machine has compiled before with the
// same compiler, flags and sources is taken from its cache. How much that was is said behind the step.
function useCcache(root) {
  inside(root, "/", "0:0", "/bin/sh", "-c", "apt-get update && apt-get install --yes --no-install-recommends ccache");
  const cache = path.join(root, "root/.cache/ccache");
  mkdirSync(cache, { recursive: true });
  command("mount", "--bind", process.env.CCACHE_DIR ?? path.join(homedir(), ".cache/ccache"), cache);
}

function tellCache(root) {
  const file = path.join(root, cacheLog);
  if (!existsSync(file)) return;
  const count = (what) => readFileSync(file, "utf8").split("\n").filter((line) => line === what).length;
  const hits = count("direct_cache_hit") + count("preprocessed_cache_hit");
  console.log(`==== ${hits} files came from the cache, ${count("cache_miss")} were compiled`);
  rmSync(file);
}

// As the container would be: nobody, on a root that cannot be written.
function checkImage({ root, workdir, user, args }) {
  for (const folder of ["etc/tessera", "tmp"]) mkdirSync(path.join(root, folder), { recursive: true });
  if (!existsSync(path.join(root, "etc/hosts"))) writeFileSync(path.join(root, "etc/hosts"), "");
  command("mount", "--bind", root, root);
  command("mount", "-o", "remount,bind,ro", root);
  inside(root, workdir, user, ...args);
  const lines = ["gateway", "router", "expert"].map((name) => `/usr/bin/tessera-${name} --version`);
  inside(root, workdir, user, "/bin/sh", "-c", `${lines.join(" && ")} && ! touch /tmp/x 2>/dev/null && test "$(id -u)" = 65532`);
  for (const name of ["gateway", "router", "expert"]) {
    const { uid, mode } = statSync(path.join(root, `usr/bin/tessera-${name}`));
    assert.equal(uid, 0);
    assert.equal(mode & 0o022, 0, "nobody but root changes a program");
  }
  assert.throws(() => statSync(path.join(root, "usr/bin/g++")), "the compiler stays out");
  // A network of its own: the ports of the compose file are free, and nobody else is reached.
  const serve = path.join(path.dirname(fileURLToPath(import.meta.url)), "serve.mjs");
  command("unshare", "--net", process.execPath, serve, root, sources, user);
  const kilobytes = execFileSync("du", ["-skx", root], { encoding: "utf8" }).split("\t")[0];
  console.log(`==== the image has ${Math.round(kilobytes / 1024)} MB`);
}

const roots = {};
let last;
for (const stage of stages) last = build(stage, roots);
assert.ok(last, "the last stage has a CMD");
checkImage(last);
console.log("==== all steps were run");
