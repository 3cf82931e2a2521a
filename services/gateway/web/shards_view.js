// The shards as a list of cards that stay where they are while their words change.

import { byId, element, grouped, say } from "./dom.js";

const manyFrom = 12; // smaller cards from here on

class Card {
  constructor(id) {
    this.state = element("span", { class: "state" });
    this.more = element("span", { class: "more" });
    this.meter = element("meter", { min: 0, max: 1, low: 0.75, high: 0.95, optimum: 0, "aria-label": `${id}: busy` });
    this.node = element("li", { class: "shard", "data-id": id }, this.state, element("span", { class: "name", text: id }),
      element("br"), this.more, this.meter);
  }
  show({ kind, state, rows, busy, lostMs }, nowMs) {
    this.node.dataset.state = kind;
    say(this.state, state);
    this.meter.hidden = busy === null || kind === "lost";
    this.meter.value = busy ?? 0;
    const busyText = busy === null ? "" : `, ${Math.round(busy * 100)}\u00a0%\u00a0busy`; // stays together where a card is narrow
    say(this.more, kind === "lost" ? `since ${Math.round((nowMs - lostMs) / 1000)} s` : `${grouped(rows)} rows${busyText}`);
  }
}

export class ShardsView {
  #cards = new Map();
  #kinds = new Map();

  // shards: of a ShardBook.
  show(shards, nowMs) {
    const list = byId("shards");
    list.classList.toggle("many", shards.length > manyFrom);
    for (const [id, card] of this.#cards) {
      if (shards.some((shard) => shard.id === id)) continue;
      card.node.remove();
      this.#cards.delete(id);
    }
    shards.forEach((shard, at) => {
      if (!this.#cards.has(shard.id)) this.#cards.set(shard.id, new Card(shard.id));
      const card = this.#cards.get(shard.id);
      card.show(shard, nowMs);
      if (list.children[at] !== card.node) list.insertBefore(card.node, list.children[at] ?? null);
    });
    this.#announce(shards);
  }

  // Screen readers hear of changes only.
  #announce(shards) {
    const changed = shards.filter(({ id, kind }) => this.#kinds.has(id) && this.#kinds.get(id) !== kind);
    for (const { id, kind } of shards) this.#kinds.set(id, kind);
    if (changed.length > 0) say(byId("shards-said"), changed.map(({ id, state }) => `Shard ${id} is ${state}.`).join(" "));
  }
}
