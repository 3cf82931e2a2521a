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

class Prometheus {
  static async start(processes) {
    const prometheus = new Prometheus();
    prometheus.folder = mkdtempSync(path.join(tmpdir(), "tessera-prometheus-"));
    const job = (name, role, more = "") =>
      `  - job_name: ${name}\n${more}    static_configs:\n      - targets: ` +
      JSON.stringify(processes.filter((process) => process.role === role).map((process) => process.admin)) + "\n";
    writeFileSync(
      path.join(prometheus.folder, "prometheus.yml"),
      "global:\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  evaluation_interval: 1s\nrule_files:\n" +
        `  - ${sources}/deploy/prometheus/recording.rules.yml\n  - ${sources}/deploy/prometheus/alerts.rules.yml\n` +
        "scrape_configs:\n" + job("tessera-gateway", "gateway") + job("tessera-router", "router") +
        job("tessera-expert", "expert") + job("tessera-experts", "router", "    metrics_path: /metrics/experts\n"),
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
  async query(expr) {
    const reply = await fetch(`${this.url}/api/v1/query?query=${encodeURIComponent(expr)}`);
    const body = await reply.json();
    if (body.status !== "success") throw new Error(`${expr}: ${body.error}`);
    return body.data.result;
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
  before(async () => {
    cluster = await startCluster({ shards: 2 });
    prometheus = await Prometheus.start(cluster.processes());
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

  test("no query answers whatever happens", () => {
    const all = queries();
    assert.ok(all.length > 80, `there are ${all.length} queries`);
    for (const { board, panel, expr } of all) {
      assert.doesNotMatch(expr, /vector\s*\(|absent/, `${board}, ${panel}`);
    }
  });

  test("every query has an answer under load", async () => {
    const open = new Map(queries().map((query) => [`${query.board}, ${query.panel}: ${query.expr}`, query]));
    const total = open.size;
    try {
      await until(async () => {
        for (const [name, { expr, event }] of open) {
          // Of an annotation: that there is something to compare, as nothing moves or is lost now.
          const asked = (event ? expr.replace(/> 0$/, ">= 0") : expr).replaceAll("$__rate_interval", "10s");
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

  test("a healthy cluster fires no alert", async () => {
    const firing = await prometheus.query('ALERTS{alertstate="firing"}');
    assert.deepEqual(firing.map(({ metric }) => metric.alertname), []);
  });
});
