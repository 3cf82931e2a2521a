// Messages as elements. A view shows its message anew each time show() is called.

import { metaOf } from "./chat_state.js";
import { element, say } from "./dom.js";
import { MarkdownView } from "./markdown_view.js";

export function userView(text) {
  return element("li", { class: "message user" }, element("span", { class: "unseen", text: "You: " }),
    element("div", { class: "text", text }));
}

function prettyArguments(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // not complete yet
  }
}

// One call of a tool, folded, with a field for what the tool says.
class ToolCallView {
  constructor(call) {
    this.call = call;
    this.name = element("code");
    this.state = element("span");
    this.arguments = element("pre", { tabindex: 0, role: "group", "aria-label": "Arguments" });
    this.result = element("textarea", { rows: 2, spellcheck: "false" });
    this.result.addEventListener("input", () => {
      call.result = this.result.value;
    });
    this.field = element("label", { text: "What the tool answers" }, this.result);
    this.node = element("details", { class: "fold tool" }, element("summary", {}, "Tool call ", this.name, this.state),
      element("div", { class: "inside" }, this.arguments, this.field));
  }
  show(isOpen) {
    say(this.name, this.call.name);
    say(this.arguments, prettyArguments(this.call.arguments));
    this.field.hidden = !isOpen;
  }
}

// An answer of the model. `onAgain`: its error is to be tried again; `onResults`: tools have answered.
export class AnswerView {
  #calls = [];
  constructor(answer, { onAgain, onResults }) {
    this.answer = answer;
    this.thoughtsTitle = element("summary");
    this.thoughts = element("div", { class: "thoughts" });
    this.fold = element("details", { class: "fold reasoning", hidden: "" }, this.thoughtsTitle,
      element("div", { class: "inside" }, this.thoughts));
    this.words = new MarkdownView();
    this.tools = element("div");
    this.results = element("button", { type: "button", class: "answer-tools", text: "Send the results" });
    this.results.addEventListener("click", onResults);
    this.errorText = element("span");
    const again = element("button", { type: "button", text: "Try again" });
    again.addEventListener("click", onAgain);
    this.error = element("div", { class: "error", role: "alert", hidden: "" }, this.errorText, again);
    this.meta = element("p", { class: "meta" });
    this.node = element("li", { class: "message assistant" }, element("span", { class: "unseen", text: "Model: " }),
      this.fold, this.words.node, this.tools, this.results, this.error, this.meta);
  }

  // `isLast`: the conversation goes on behind this answer.
  show(nowMs, isLast = true) {
    const { answer } = this;
    const isOpen = answer.endedMs === null;
    this.node.classList.toggle("streaming", isOpen);
    this.node.setAttribute("aria-busy", String(isOpen));
    this.fold.hidden = answer.reasoning === "";
    const thinks = isOpen && answer.content === "" && answer.toolCalls.length === 0;
    say(this.thoughtsTitle, thinks ? "Thinking …" : `Reasoning, ${answer.reasoning.trim().split(/\s+/).length} words`);
    say(this.thoughts, answer.reasoning.trim());
    this.words.show(answer.content);
    for (let i = this.#calls.length; i < answer.toolCalls.length; ++i) {
      this.#calls.push(new ToolCallView(answer.toolCalls[i]));
      this.tools.append(this.#calls[i].node);
    }
    for (const call of this.#calls) call.show(!isOpen && isLast);
    this.results.hidden = isOpen || !isLast || this.#calls.length === 0;
    this.error.hidden = answer.error === null;
    say(this.errorText, answer.error ?? "");
    say(this.meta, metaOf(answer, nowMs));
  }
}
