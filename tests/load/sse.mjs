// Streams of POST /v1/chat/completions, timed. Nothing but node's own modules.

import http from "node:http";

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

// One stream to its end. Never throws: `error` says what went wrong.
//   first   milliseconds to the first content, `gap` the longest wait between two events, `total` to the end
//   timings what the server says of its own part, in milliseconds: ttft_ms and others
//   calls   names and arguments of the tools that are called, as they came
//   pieces  when each piece of content came, by performance.now()
//   onText  called with each piece of content, `onEvent` with each event and the milliseconds since the one before
export function stream(server, body, { agent, onText, onEvent, headers = {} } = {}) {
  const { hostname, port } = new URL(server.url);
  const text = JSON.stringify({ stream: true, stream_options: { include_usage: true }, ...body });
  const started = performance.now();
  const end = { status: 0, text: "", reasoning: "", events: 0, first: undefined, gap: 0, pieces: [], total: 0, finish: [], calls: "", usage: undefined, timings: undefined, done: false, error: undefined };
  return new Promise((resolve) => {
    let last = started;
    let held = "";
    const finish = (error) => {
      if (error !== undefined && end.error === undefined) end.error = error;
      end.total = performance.now() - started;
      resolve(end);
    };
    const take = (event) => {
      if (event === "[DONE]") {
        end.done = true;
        return;
      }
      const now = performance.now();
      end.gap = Math.max(end.gap, now - last);
      onEvent?.(now - last);
      last = now;
      ++end.events;
      const chunk = JSON.parse(event);
      if (chunk.error) end.error = JSON.stringify(chunk.error);
      if (chunk.usage) end.usage = chunk.usage;
      if (chunk.timings) end.timings = chunk.timings;
      for (const choice of chunk.choices ?? []) {
        if (choice.finish_reason) end.finish.push(choice.finish_reason);
        end.reasoning += choice.delta.reasoning_content ?? "";
        for (const call of choice.delta.tool_calls ?? []) end.calls += `${call.function?.name ?? ""}${call.function?.arguments ?? ""}`;
        if (!choice.delta.content) continue;
        end.first ??= now - started;
        end.text += choice.delta.content;
        end.pieces.push(now);
        onText?.(choice.delta.content);
      }
    };
    const request = http.request(
      { hostname, port, agent, method: "POST", path: "/v1/chat/completions",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers } },
      (reply) => {
        end.status = reply.statusCode;
        reply.setEncoding("utf8");
        reply.on("data", (data) => {
          held += data;
          if (end.status !== 200) return;
          const events = held.split("\n\n");
          held = events.pop();
          for (const event of events) if (event.startsWith("data: ")) take(event.slice(6));
        });
        reply.on("end", () => {
          if (end.status !== 200) finish(`${end.status} ${held}`);
          else finish(end.done ? undefined : "no [DONE]");
        });
        reply.on("error", (error) => finish(String(error)));
      },
    );
    request.on("error", (error) => finish(String(error)));
    request.end(text);
  });
}

// What all of `ends` have in common, for people to read.
export function summary(ends) {
  const ms = (values) => `p50 ${percentile(values, 0.5).toFixed(1)} p95 ${percentile(values, 0.95).toFixed(1)} max ${Math.max(...values).toFixed(1)} ms`;
  const tokens = ends.reduce((sum, end) => sum + (end.usage?.completion_tokens ?? 0), 0);
  const errors = ends.filter((end) => end.error !== undefined);
  return `${ends.length} streams, ${errors.length} errors${errors.length > 0 ? ` (${errors[0].error})` : ""}, ${tokens} tokens, ` +
    `first token ${ms(ends.map((end) => end.first ?? 0))}, longest gap ${ms(ends.map((end) => end.gap))}`;
}
