// Server-sent events out of text that arrives in arbitrary pieces.

export class SseReader {
  #rest = "";
  #data = [];

  // The data of each event that is complete with `text`. Comments and other fields are passed over.
  push(text) {
    const events = [];
    this.#rest += text;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.#rest); // a carriage return at the end may be half a line end
      if (end === null) return events;
      const line = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      if (line === "") {
        if (this.#data.length > 0) events.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
}
