// A gateway that says what a test wants: the page's files as they are in the tree, the load of a large cluster, an answer.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";

const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const sumOf = (counts) => counts.reduce((a, b) => a + b, 0);

// A load as Trinity Large might show it: experts differ, a few are hot; `seed` says which.
export function largeLoad(seed, { layers = 54, experts = 256, shards = 8, layerRows = true } = {}) {
  let state = seed >>> 0 || 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const load = { window_seconds: 10, layers: [], shards: [] };
  for (let layer = 6; layer < 6 + layers; ++layer) {
    const hot = Math.floor(random() * experts);
    const rows = Array.from({ length: experts }, (_, expert) =>
      Math.floor(-Math.log(1 - random()) * 40 * (expert === hot ? 7 : 0.6 + 0.4 * Math.sin(expert / 9 + layer / 5) ** 2)));
    load.layers.push({ layer, rows });
  }
  for (let s = 0; s < shards; ++s) {
    const told = load.layers.map(({ rows }) => sumOf(rows.slice((s * experts) / shards, ((s + 1) * experts) / shards)));
    load.shards.push({ id: `expert-${s}`, state: "live", busy_ratio: 0.2 + 0.5 * random(), rows: sumOf(told),
      ...(layerRows && { layer_rows: told }) });
  }
  return load;
}

const story = `A mixture of experts keeps **many small networks** and asks only a few of them about each token.

1. The *gate* looks at the token and picks its experts.
2. The router sends the row to the shards that hold them.
3. What comes back is added up, always in the same order.

\`\`\`cpp
for (const Answer& part : parts_by_shard) AddRows(part, sum);
\`\`\`

So most weights rest while a few work, which is what the picture on the right shows.`;

export class FakeGateway {
  load = largeLoad(1);
  loadStatus = 200;
  tokens = 0;
  tokensPerAsk = 37;
  requests = [];
  loadsAsked = 0;
  #server = createServer((request, response) => this.#answer(request, response));

  constructor(folder) {
    this.folder = folder;
  }
  async start() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }
  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(request, response) {
    const reply = (status, body, type = "application/json") => {
      response.writeHead(status, { "content-type": type });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    };
    const error = (message) => ({ error: { message, type: "server_error", param: null, code: null } });
    switch (request.url) {
      case "/v1/models": return reply(200, { object: "list", data: [{ id: "trinity-large", max_model_len: 4096 }] });
      case "/readyz": return reply(200, "ok\n", "text/plain");
      case "/v1/experts/load":
        ++this.loadsAsked;
        this.tokens += this.tokensPerAsk;
        return this.loadStatus === 200 ? reply(200, { ...this.load, routers: this.#routers() }) : reply(this.loadStatus, error("no load"));
      case "/v1/chat/completions": return this.#chat(request, response);
      default: return this.#file(request.url === "/" ? "index.html" : request.url.slice("/web/".length), reply);
    }
  }

  // One that works and one that rests.
  #routers() {
    const rest = { prompt_tokens: 0, sequences_running: 0, sequences_waiting: 0 };
    return [{ ...rest, id: "00000000000000f0", generation_tokens: this.tokens, sequences_running: 3 },
      { ...rest, id: "00000000000000f1", generation_tokens: 1e6 }];
  }

  #file(name, reply) {
    try {
      reply(200, readFileSync(path.join(this.folder, path.basename(name)), "utf8"), types[path.extname(name)]);
    } catch {
      reply(404, { error: { message: "no such path", type: "invalid_request_error", param: null, code: "unknown_url" } });
    }
  }

  async #chat(request, response) {
    let body = "";
    for await (const part of request) body += part;
    this.requests.push(JSON.parse(body));
    response.writeHead(200, { "content-type": "text/event-stream" });
    const words = story.match(/\s*\S+/g);
    const event = (delta, more = {}) => response.write(`data: ${JSON.stringify({
      choices: [{ index: 0, delta, finish_reason: null, ...more }], usage: { completion_tokens: words.length } })}\n\n`);
    event({ role: "assistant", content: "" });
    event({ reasoning_content: "They ask what a mixture of experts is. Short and plain, with the steps." });
    for (const word of words) event({ content: word });
    event({}, { finish_reason: "stop" });
    response.end("data: [DONE]\n\n");
  }
}
