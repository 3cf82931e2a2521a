// What the page asks the gateway. Paths are relative to the page, so a prefix put before it by a proxy does no harm.

import { SseReader } from "./sse.js";

const patienceMs = 4000; // of everything but a chat

// An answer that is an error, or none: status 0.
export class ApiError extends Error {
  constructor(message, { status = 0, code = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

// The words of an error's body, whatever it is.
export function errorOf(status, text, retryAfter = null) {
  let message = text.slice(0, 500) || `the gateway answered ${status}`;
  let code = null;
  try {
    const { error } = JSON.parse(text);
    if (typeof error?.message === "string") ({ message, code = null } = error);
  } catch {
    // Not of the gateway: a proxy's page, say. Its text will do.
  }
  return new ApiError(message, { status, code, retryAfter });
}

async function failure(response) {
  return errorOf(response.status, await response.text().catch(() => ""), response.headers.get("retry-after"));
}

export class Api {
  // `key()` is the key to send, or "".
  constructor(key) {
    this.key = key;
  }

  async #fetch(path, options) {
    const headers = { ...options.headers };
    if (this.key()) headers.authorization = `Bearer ${this.key()}`;
    try {
      return await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(error.name === "TimeoutError" ? "the gateway does not answer" : "the gateway cannot be reached");
    }
  }

  async #get(path) {
    const response = await this.#fetch(path, { signal: AbortSignal.timeout(patienceMs) });
    if (!response.ok) throw await failure(response);
    return response;
  }

  async models() {
    const { data } = await (await this.#get("v1/models")).json();
    return data.map((model) => ({ id: model.id, context: model.max_model_len }));
  }
  async load() {
    return (await this.#get("v1/experts/load")).json();
  }
  // Why no work is taken; "" if it is.
  async unready() {
    const response = await this.#fetch("readyz", { signal: AbortSignal.timeout(patienceMs) });
    return response.ok ? "" : (await response.text()).trim().split("\n").join(", ");
  }

  // The chunks of a streamed answer to a chat.
  async *chat(body, signal) {
    const response = await this.#fetch("v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    if (!response.ok) throw await failure(response);
    const events = new SseReader();
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await pieces.read().catch((error) => {
        throw error.name === "AbortError" ? error : new ApiError("the connection broke before the answer was complete");
      });
      if (done) throw new ApiError("the answer ended before it was complete");
      for (const event of events.push(value)) {
        if (event === "[DONE]") return;
        const chunk = JSON.parse(event);
        if (chunk.error) throw errorOf(response.status, event);
        yield chunk;
      }
    }
  }
}
