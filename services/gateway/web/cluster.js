// The live picture: asks for the load twice a second and shows it.
//
//   /v1/experts/load --readLoad--> heat maps, shards, balance, tokens/s, requests
//
// All of it is what the routers tell, summed by whichever gateway answers: several gateways behind one address show one picture.

import { LineChart } from "./chart.js";
import { byId, element, grouped, repeat, say } from "./dom.js";
import { HeatMap, drawLegend } from "./heatmap.js";
import { History, ShardBook, TokenRate, balances, kindOf, layerSummaries, readLoad, sum, timesMean } from "./load.js";
import { ShardsView } from "./shards_view.js";

const loadPauseMs = 500; // a lost shard is to be seen within two seconds
const rateSpanMs = 3000, spanMs = 120_000;

const refusals = {
  401: "The picture of the cluster needs a key.",
  403: "This key may chat; the picture of the cluster needs an admin key.",
  404: "This gateway does not tell the load of its experts.",
};

function twoDigits(value) {
  return value === null ? "–" : value.toFixed(2);
}

export class ClusterView {
  #book = new ShardBook();
  #balance = new History(spanMs);
  #tokens = new History(spanMs);
  #rate = new TokenRate(rateSpanMs);
  #load = null;

  constructor(api) {
    this.api = api;
    this.shards = new ShardsView();
    this.experts = new HeatMap(byId("experts-map"), byId("experts-cell"));
    this.layerShards = new HeatMap(byId("shards-map"), byId("shards-cell"));
    drawLegend(byId("legend-low"), 0);
    drawLegend(byId("legend-high"), 1);
    this.balanceChart = new LineChart(byId("balance-chart"), {
      lines: [{ key: "experts", color: "accent" }, { key: "shards", color: "second" }], max: 1, spanMs });
    this.tokensChart = new LineChart(byId("tokens-chart"), { lines: [{ key: "rate", color: "accent" }], spanMs });
    byId("layers").addEventListener("toggle", () => this.#showTable());
    this.loadNow = repeat(() => this.#askLoad(), loadPauseMs);
  }

  // There is another key, say.
  askNow() {
    this.loadNow();
  }

  async #askLoad() {
    if (byId("cluster").offsetParent === null) return; // a phone shows the chat, and need not pay for the picture
    try {
      this.#load = readLoad(await this.api.load());
    } catch (error) {
      return this.#showNotice(refusals[error.status] ?? `No picture of the cluster: ${error.message}.`, error.status in refusals);
    }
    byId("notice").hidden = true;
    byId("cluster").toggleAttribute("data-stale", false);
    for (const part of document.querySelectorAll(".of-load[hidden]")) part.hidden = false;
    const nowMs = performance.now();
    const shards = this.#book.update(this.#load.shards, nowMs);
    this.#balance.push(nowMs, balances(this.#load));
    this.shards.show(shards, nowMs);
    this.#showFigures(shards);
    this.#showTokens(nowMs);
    this.#showExperts();
    this.#showLayerShards();
    this.balanceChart.show(this.#balance.points, nowMs);
    this.#showTable();
  }

  #showNotice(text, isCalm) {
    byId("cluster").toggleAttribute("data-stale", true);
    const notice = byId("notice");
    notice.dataset.kind = isCalm ? "calm" : "bad";
    say(notice, text);
    notice.hidden = false;
  }

  #showTokens(nowMs) {
    const { routers } = this.#load;
    const rate = this.#rate.push(nowMs, routers);
    this.#tokens.push(nowMs, { rate });
    say(byId("figure-tokens"), rate === null ? "–" : rate.toFixed(rate < 10 ? 1 : 0));
    say(byId("figure-requests"), routers === null ? "–" : grouped(sum(routers.map(({ running }) => running))));
    this.tokensChart.show(this.#tokens.points, nowMs);
    byId("tokens-chart").setAttribute("aria-label",
      `Tokens per second over the last two minutes${rate === null ? "" : `, now ${rate.toFixed(1)}`}`);
  }

  #showFigures(shards) {
    const { experts, shards: ofShards } = this.#balance.points.at(-1);
    const live = shards.filter(({ kind }) => kind === "live").length;
    say(byId("figure-balance"), twoDigits(experts));
    say(byId("figure-shards"), `${live} / ${shards.length}`);
    byId("figure-shards").classList.toggle("bad", shards.some(({ kind }) => kind === "lost"));
    say(byId("window"), `rows of the last ${this.#load.windowSeconds} s`);
    byId("balance-chart").setAttribute("aria-label",
      `Balance over the last two minutes, now ${twoDigits(experts)} of experts, ${twoDigits(ofShards)} of shards`);
  }

  #showExperts() {
    const { layers } = this.#load;
    const top = layerSummaries(this.#load).reduce((a, b) => (b.times > (a?.times ?? 0) ? b : a), null);
    this.experts.show({
      lines: layers.map(({ rows }) => timesMean(rows)),
      rowLabels: layers.map(({ layer }) => layer),
      columnLabels: null,
      summary: top === null ? "Nothing was computed lately."
        : `Busiest: layer ${top.layer}, expert ${top.busiest}, ${top.times.toFixed(1)} × the mean of its layer`,
      tell: (row, column) => {
        const { layer, rows } = layers[row];
        return `Layer ${layer}, expert ${column}: ${grouped(rows[column])} rows, ${timesMean(rows)[column].toFixed(1)} × mean`;
      },
    });
  }

  #showLayerShards() {
    const { layers, shards } = this.#load;
    const known = shards.length > 0 && layers.length > 0 && layers.every(({ shardRows }) => shardRows !== null);
    for (const id of ["shards-map", "shards-cell"]) byId(id).hidden = !known;
    byId("shards-map-absent").hidden = known;
    if (!known) return;
    this.layerShards.show({
      lines: layers.map(({ shardRows }) => timesMean(shardRows)),
      rowLabels: layers.map(({ layer }) => layer),
      columnLabels: shards.map(({ id }) => id),
      marks: shards.flatMap(({ state }, at) => (kindOf(state) === "lost" ? [at] : [])),
      summary: `${grouped(sum(shards.map(({ rows }) => rows)))} rows on ${shards.length} shards`,
      tell: (row, column) =>
        `Layer ${layers[row].layer}, ${shards[column].id} (${shards[column].state}): ${grouped(layers[row].shardRows[column])} rows`,
    });
  }

  #showTable() {
    if (!byId("layers").open || this.#load === null) return;
    byId("layer-rows").replaceChildren(...layerSummaries(this.#load).map(({ layer, total, balance, busiest, times }) =>
      element("tr", {}, element("th", { scope: "row", text: layer }), ...[
        grouped(total), twoDigits(balance), total > 0 ? busiest : "–", times.toFixed(1)].map((text) => element("td", { text })))));
  }
}
