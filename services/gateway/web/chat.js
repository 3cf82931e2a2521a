// The conversation: what the user does, what is sent, what comes back.

import { applyChunk, newAnswer, requestOf } from "./chat_state.js";
import { AnswerView, userView } from "./chat_view.js";
import { byId, say } from "./dom.js";

const stickPx = 60; // whoever has scrolled up further than this is reading and stays there

export class Chat {
  #messages = [];
  #views = []; // of answers, in order
  #abort = null; // of the answer under way
  #frame = null;

  // `model()`: its name; `settings()`; `onRefused(error)`: a key is wanted.
  constructor(api, { model, settings, onRefused }) {
    Object.assign(this, { api, model, settings, onRefused });
    this.prompt = byId("prompt");
    this.log = byId("log");
    this.scroller = byId("scroller");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("stop").addEventListener("click", () => this.#stop());
    byId("fresh").addEventListener("click", () => this.#clear());
    this.prompt.addEventListener("input", () => this.#fitPrompt());
    this.prompt.addEventListener("keydown", (event) => {
      // A composing key belongs to the input method that writes, say, Chinese.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#abort !== null && document.querySelector("dialog[open]") === null) this.#stop();
    });
  }

  #fitPrompt() {
    this.prompt.style.height = "auto";
    this.prompt.style.height = `${this.prompt.scrollHeight + 2}px`;
  }

  #send() {
    const content = this.prompt.value.trim();
    if (content === "" || this.#abort !== null) return;
    this.prompt.value = "";
    this.#fitPrompt();
    this.#messages.push({ role: "user", content });
    this.log.append(userView(content));
    this.#answer();
  }

  #stop() {
    this.#abort?.abort();
  }

  #clear() {
    this.#stop();
    this.#messages = [];
    this.#views = [];
    this.log.replaceChildren();
    byId("welcome").hidden = false;
    this.prompt.focus();
  }

  #tryAgain(view) {
    if (this.#abort !== null || view !== this.#views.at(-1)) return;
    this.#views.pop();
    this.#messages.splice(this.#messages.indexOf(view.answer), 1);
    view.node.remove();
    this.#answer();
  }

  #begin() {
    const answer = newAnswer(performance.now());
    const view = new AnswerView(answer, {
      onAgain: () => this.#tryAgain(view),
      onResults: () => this.#abort === null && this.#answer(),
    });
    this.#views.at(-1)?.show(performance.now(), false);
    this.#views.push(view);
    this.log.append(view.node);
    byId("welcome").hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    return view;
  }

  async #answer() {
    const body = requestOf(this.#messages, this.model(), this.settings());
    const view = this.#begin();
    const { answer } = view;
    this.#messages.push(answer);
    const abort = new AbortController();
    this.#abort = abort;
    this.#showBusy(view);
    try {
      for await (const chunk of this.api.chat(body, abort.signal)) {
        applyChunk(answer, chunk, performance.now());
        this.#showSoon(view);
      }
    } catch (error) {
      if (abort.signal.aborted) {
        answer.stopped = true;
      } else {
        answer.error = error.retryAfter ? `${error.message} (again in ${error.retryAfter} s)` : error.message;
        if (error.status === 401) this.onRefused(error);
      }
    }
    answer.endedMs = performance.now();
    if (this.#abort === abort) this.#abort = null;
    this.#showBusy(view);
  }

  // Which buttons there are, and what a screen reader hears.
  #showBusy(view) {
    const isBusy = this.#abort !== null;
    const hadFocus = document.activeElement === byId("stop");
    byId("send").hidden = isBusy;
    byId("stop").hidden = !isBusy;
    if (hadFocus && !isBusy) this.prompt.focus();
    const { answer } = view;
    const ended = answer.stopped ? "Stopped." : answer.error ?? "The answer is complete.";
    say(byId("said"), answer.endedMs === null ? "The model is answering." : ended);
    this.#show(view);
  }

  // At most once a frame, however fast tokens come.
  #showSoon(view) {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#show(view);
    });
  }

  #show(view) {
    const { scroller } = this;
    const sticks = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < stickPx;
    view.show(performance.now(), view === this.#views.at(-1));
    if (sticks) scroller.scrollTop = scroller.scrollHeight;
  }
}
