#include "services/router/tally/expert_metrics.h"

#include "absl/strings/str_cat.h"

namespace tessera::router {

std::string ExpertMetricsText(const ExpertTally& tally) {
  constexpr char kName[] = "tessera_router_expert_rows_total";
  std::string text = absl::StrCat("# HELP ", kName, " Rows the gate sent to an expert.\n# TYPE ",
                                  kName, " counter\n");
  const std::vector<uint64_t> rows = tally.Totals().rows;
  size_t i = 0;
  for (const LayerIndex layer : tally.layers()) {
    for (size_t expert = 0; expert < tally.expert_count(); ++expert) {
      absl::StrAppend(&text, kName, "{layer=\"", ToIndex(layer), "\",expert=\"", expert, "\"} ",
                      rows[i++], "\n");
    }
  }
  return text;
}

}  // namespace tessera::router
