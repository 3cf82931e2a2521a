#pragma once

// How many routers and shards a load needs, with the arithmetic shown.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/model_spec.h"

namespace tessera::cli {

// One machine, or one GPU: what it can hold, read and multiply in practice.
struct DeviceKind {
  std::string name;
  double memory_gb = 0;             // usable for weights and caches
  double gigabytes_per_second = 0;  // a plain read loop
  double teraflops = 0;             // bf16 products
};
// "h100", "h200", "a100", "l40s", "b200"; "cpu" is a two-socket server, "desktop" a small box.
// kInvalidArgument lists them.
absl::StatusOr<DeviceKind> FindDevice(const std::string& name);

struct CapacityWishes {
  double tokens_per_second = 1000;  // decoded, all users together
  double tpot_ms = 50;              // time per output token
  size_t context = 8192;            // tokens of a sequence, on average
  DeviceKind router;
  DeviceKind shard;
  double router_bytes_per_weight = 2;
  double expert_bytes_per_weight = 2;
  double link_us = 10;         // one way, router to shard
  double link_gigabits = 100;  // of one device
  double balance = 0.95;       // of the shards
  double copies = 1.125;       // of the experts: spare slots are memory too
  double use_max = 0.8;        // of a device's time; the rest takes the peaks
};

struct CapacityPlan {
  bool feasible = false;
  size_t routers = 0;
  size_t shards = 0;
  double router_gb = 0;                 // of each
  double shard_gb = 0;                  // of each
  double step_ms = 0;                   // at that load
  std::vector<std::string> arithmetic;  // line by line; the last says what limits
};

// The fewest routers, then the fewest shards, that hold model and caches and decode in time.
// kInvalidArgument naming what is not positive.
absl::StatusOr<CapacityPlan> PlanCapacity(const ModelSpec& spec, const CapacityWishes& wishes);

// E[different experts] that `rows` rows touch when each chooses top_k of experts at random.
double ExpertsTouched(double rows, double top_k, double experts);

}  // namespace tessera::cli
