// Every query of every dashboard, executed by a real Prometheus that scrapes a real cluster under load: each must have
// an answer with a finite number. What is always answered, as by "or vector(0)", would prove nothing and is refused.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { startCluster, until } from "../clients/programs.mjs";

const sources = process.env.TESSERA_SOURCES;
const boards = path.join(sources, "deploy/grafana");
const rules = path.join(sources, "deploy/prometheus");
// The alerts' `for` is counted in this many times shorter seconds: nobody waits minutes for a test. What they ask is as deployed.
const hurry = 60;

// What is scraped where: [job, role of the processes, page].
const jobs = [
  ["tessera-gateway", "gateway", "/metrics"],
  ["tessera-router", "router", "/metrics"],
  ["tessera-expert", "expert", "/metrics"],
  ["tessera-experts", "router", "/metrics/experts"],
];

const unitMs = { s: 1000, m: 60_000, h: 3_600_000 };
function hurried(text) {
  return text.replace(/^( +for: )(\d+)([smh])$/gm, (_, begin, count, unit) => `${begin}${Math.ceil((count * unitMs[unit]) / hurry)}ms`);
}

// [[job, page]] of a Prometheus configuration, in the order of the file.
function jobsOf(file) {
  const text = readFileSync(path.join(sources, file), "utf8");
  return text.split("- job_name: ").slice(1).map((job) => [job.split("\n")[0], /metrics_path: (\S+)/.exec(job)?.[1] ?? "/metrics"]);
}

// [{board, panel, expr}]
function queries() {
  const found = [];
  for (const file of readdirSync(boards).filter((name) => name.endsWith(".json"))) {
    const board = JSON.parse(readFileSync(path.join(boards, file), "utf8"));
    for (const panel of board.panels) {
      for (const { expr } of panel.targets ?? []) found.push({ board: file, panel: panel.title, expr });
    }
    for (const { expr, name } of board.annotations.list) found.push({ board: file, panel: name, expr, event: true });
  }
  return found;
}

// What the chart's autoscalers ask, of this cluster: no pods, no namespaces. The first is recorded for an HPA, the others are KEDA's.
function autoscalerQueries() {
  const chart = path.join(sources, "helm/tessera/templates");
  const rule = readFileSync(path.join(chart, "monitoring/prometheusrule.yaml"), "utf8");
  const keda = readFileSync(path.join(chart, "expert-shard/burst-autoscaler.yaml"), "utf8");
  const recorded = /record: tessera_expert_shard_queue_wait_p90_seconds\n(?: +#.*\n)* +expr: \|\n((?: {12}.*\n)+)/.exec(rule)[1];
  const [busy, wait] = [...keda.matchAll(/query: \{\{ printf "([^"]+)"/g)].map(([, expr]) => expr.replace("{%s}", ""));
  return { recorded, busy, wait };
}

const numbers = (result) => result.map(({ value }) => Number(value[1]));

class Prometheus {
  static async start(processes) {
    const prometheus = new Prometheus();
    prometheus.folder = mkdtempSync(path.join(tmpdir(), "tessera-prometheus-"));
    const scrapes = jobs.map(([job, wanted, page]) => {
      const targets = processes.filter(({ role }) => role === wanted).map(({ admin }) => admin);
      return `  - job_name: ${job}\n    metrics_path: ${page}\n    static_configs: [{targets: ${JSON.stringify(targets)}}]\n`;
    });
    writeFileSync(path.join(prometheus.folder, "alerts.yml"), hurried(readFileSync(path.join(rules, "alerts.rules.yml"), "utf8")));
    writeFileSync(
      path.join(prometheus.folder, "prometheus.yml"),
      "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nrule_files:\n" +
        `  - ${rules}/recording.rules.yml\n  - alerts.yml\nscrape_configs:\n${scrapes.join("")}`,
    );
    prometheus.child = spawn(
      "prometheus",
      [`--config.file=${prometheus.folder}/prometheus.yml`, `--storage.tsdb.path=${prometheus.folder}/data`,
       "--web.listen-address=127.0.0.1:0"],
      { stdio: ["ignore", "inherit", "pipe"] },
    );
    let said = "";
    prometheus.url = await new Promise((resolve, reject) => {
      createInterface({ input: prometheus.child.stderr }).on("line", (line) => {
        said += `${line}\n`;
        const listens = /Listening on".* address=(127\.0\.0\.1:[1-9]\d*)/.exec(line);
        if (listens) resolve(`http://${listens[1]}`);
      });
      prometheus.child.once("exit", () => reject(new Error(`prometheus ended:\n${said}`)));
    });
    return prometheus;
  }
  async ask(what) {
    const body = await (await fetch(`${this.url}/api/v1/${what}`)).json();
    if (body.status !== "success") throw new Error(`${what}: ${body.error}`);
    return body.data;
  }
  async query(expr) {
    return (await this.ask(`query?query=${encodeURIComponent(expr)}`)).result;
  }
  // Alerting rules, after the last evaluation of all groups.
  async alerts() {
    const { groups } = await this.ask("rules?type=alert");
    return groups.flatMap((group) => group.rules);
  }
  async stop() {
    if (this.child.exitCode === null) {
      const exit = once(this.child, "exit");
      this.child.kill("SIGTERM");
      await exit;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

describe("dashboards", () => {
  let cluster;
  let prometheus;
  let stopped = false;
  let load;
  const idle = {}; // what autoscalers were told before the load
  before(async () => {
    cluster = await startCluster({ shards: 2 });
    prometheus = await Prometheus.start(cluster.processes());
    const { recorded, busy, wait } = autoscalerQueries();
    await until(async () => {
      idle.plain = numbers(await prometheus.query(wait.replace(/ >= 0$/, "")));
      return idle.plain.length > 0;
    }, "two scrapes");
    idle.recorded = numbers(await prometheus.query(recorded));
    idle.busy = numbers(await prometheus.query(busy));
    idle.wait = numbers(await prometheus.query(wait));
    const work = async (seed) => {
      while (!stopped) {
        const reply = await fetch(`${cluster.url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({
            model: "tiny", messages: [{ role: "user", content: `Hi ${seed++ % 50}` }], max_tokens: 16, ignore_eos: true,
          }),
        });
        assert.equal(reply.status, 200);
        await reply.text();
      }
    };
    load = Promise.all([work(0), work(20)]);
  });
  after(async () => {
    stopped = true;
    await load;
    await prometheus?.stop();
    await cluster?.stop();
  });

  test("every scrape configuration has the jobs that are scraped here", () => {
    const expected = jobs.map(([job, , page]) => [job, page]);
    for (const file of ["deploy/prometheus/prometheus.yml", "docker/compose/prometheus.yml"]) {
      assert.deepEqual(jobsOf(file), expected, file);
    }
    assert.equal(JSON.parse(readFileSync(path.join(sources, "docker/compose/router.json"), "utf8")).expert_metrics, true);
  });

  test("no query answers whatever happens", () => {
    const all = queries();
    assert.ok(all.length > 80, `there are ${all.length} queries`);
    for (const { board, panel, expr } of all) {
      assert.doesNotMatch(expr, /vector\s*\(|absent/, `${board}, ${panel}`);
    }
  });

  test("every metric of a query is that of the chosen release", () => {
    for (const { board, panel, expr } of queries()) {
      const metrics = [...expr.matchAll(/\b(?:tessera_\w+|process_\w+|up)\b(\{[^}]*\})?/g)];
      assert.ok(metrics.length > 0, `${board}, ${panel}`);
      for (const [, labels] of metrics) {
        assert.match(labels ?? "no labels", /release=~"\$release"/, `${board}, ${panel}: ${expr}`);
      }
    }
  });

  test("a table of two labels is a matrix with colours", () => {
    let seen = 0;
    for (const file of readdirSync(boards).filter((name) => name.endsWith(".json"))) {
      for (const panel of JSON.parse(readFileSync(path.join(boards, file), "utf8")).panels.filter(({ type }) => type === "table")) {
        const labels = /by \((\w+), (\w+)\)/.exec(panel.targets[0].expr);
        if (labels === null || panel.targets.length > 1) continue;
        ++seen;
        const [row, column] = labels.slice(1);
        const matrix = panel.transformations?.find(({ id }) => id === "groupingToMatrix")?.options;
        assert.deepEqual(matrix, { rowField: row, columnField: column, valueField: "Value" }, `${file}, ${panel.title}`);
        const { color, custom } = panel.fieldConfig.defaults;
        assert.equal(custom.cellOptions.type, "color-background", `${file}, ${panel.title}`);
        assert.match(color.mode, /^continuous-/);
        // The names of the rows are no values.
        assert.equal(panel.fieldConfig.overrides[0].matcher.options, `${row}\\${column}`);
      }
    }
    assert.ok(seen >= 1);
  });

  test("every query has an answer under load", async () => {
    const open = new Map(queries().map((query) => [`${query.board}, ${query.panel}: ${query.expr}`, query]));
    const total = open.size;
    try {
      await until(async () => {
        for (const [name, { expr, event }] of open) {
          // Of an annotation: that there is something to compare, as nothing moves or is lost now.
          const asked = (event ? expr.replace(/> 0$/, ">= 0") : expr).replaceAll("$__rate_interval", "10s").replaceAll("$release", ".*");
          const result = await prometheus.query(asked);
          if (result.some(({ value }) => Number.isFinite(Number(value[1])))) open.delete(name);
        }
        return open.size === 0;
      }, "answers");
    } catch (error) {
      assert.fail(`${open.size} of ${total} queries have no answer:\n${[...open.keys()].join("\n")}\n${error.message}`);
    }
    console.log(`${total} queries answered`);
  });

  test("autoscalers get numbers, idle and under load", async () => {
    assert.deepEqual(idle.plain, [NaN]); // which KEDA takes for a huge number
    assert.deepEqual(idle.wait, []); // which it takes for 0
    assert.ok(idle.recorded.length > 0 && idle.recorded.every((seconds) => seconds === 0), `${idle.recorded}`);
    assert.ok(idle.busy.length === 1 && idle.busy[0] >= 0, `${idle.busy}`);
    for (const [name, expr] of Object.entries(autoscalerQueries())) {
      await until(async () => numbers(await prometheus.query(expr)).some((value) => value > 0 && Number.isFinite(value)), name);
    }
  });

  test("a healthy cluster has no alert, not even one that waits to fire", async () => {
    const all = await prometheus.alerts();
    assert.ok(all.length >= 18, `${all.length} alerts`);
    for (const { name, health, lastError } of all) assert.equal(health, "ok", `${name}: ${lastError}`);
    // The whole time since the start, not this moment.
    const seen = await prometheus.query("count_over_time(ALERTS[1h])");
    assert.deepEqual(seen.map(({ metric }) => `${metric.alertname} ${metric.alertstate}`), []);
  });

  test("a shard that is killed and does not come back fires the alerts that are for that", async () => {
    const shard = cluster.processes().find(({ role }) => role === "expert");
    cluster.child.kill("SIGSTOP"); // who would start it again
    try {
      process.kill(shard.pid, "SIGKILL");
      await until(async () => {
        const firing = await prometheus.query('ALERTS{alertstate="firing"}');
        const fires = (name, labels = {}) => firing.some(({ metric }) =>
          metric.alertname === name && Object.entries(labels).every(([label, value]) => metric[label] === value));
        return fires("TesseraShardLost") && fires("TesseraTargetDown", { job: "tessera-expert", instance: shard.admin });
      }, "TesseraShardLost and TesseraTargetDown");
    } finally {
      cluster.child.kill("SIGCONT");
    }
  });
});
