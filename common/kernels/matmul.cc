#include "common/kernels/matmul.h"

#include "absl/container/inlined_vector.h"
#include "common/base/check.h"
#include "common/kernels/product.h"
#include "common/kernels/product_reference.h"

namespace tessera::kernels {
namespace {

struct PreparedTask {
  Product product;
  const MatMulTask* task = nullptr;
  size_t first_strip = 0;  // of all tasks' strips, counted through
  bool converts = true;    // false: an earlier task converts the same rows to the same form
};

using PreparedTasks = absl::InlinedVector<PreparedTask, 8>;

void CheckShapes(const MatMulTask& task) {
  TESSERA_CHECK(task.weights != nullptr && !task.weights->empty());
  TESSERA_CHECK(task.x.rows() == task.y.rows());
  TESSERA_CHECK(task.x.rows() == 0 || (task.x.cols() == task.weights->inputs() &&
                                       task.y.cols() == task.weights->outputs()));
}

bool SameRows(const PreparedTask& a, const PreparedTask& b) {
  const ConstMatrixView& x = a.task->x;
  const ConstMatrixView& other = b.task->x;
  return x.data() == other.data() && x.rows() == other.rows() && x.cols() == other.cols() &&
         x.stride() == other.stride() && a.product.form() == b.product.form();
}

PreparedTasks Prepare(const Compute& compute, std::span<const MatMulTask> tasks) {
  PreparedTasks prepared;
  size_t strips = 0;
  for (const MatMulTask& task : tasks) {
    CheckShapes(task);
    if (task.x.rows() == 0) continue;
    prepared.push_back({.product = Product(compute, *task.weights, task.x.rows()),
                        .task = &task,
                        .first_strip = strips});
    strips += prepared.back().product.strip_count();
  }
  return prepared;
}

void ConvertRows(const Compute& compute, Scratch& scratch, PreparedTasks& tasks) {
  size_t total_bytes = 0;
  for (const PreparedTask& task : tasks) total_bytes += task.product.form_bytes();
  std::byte* memory = scratch.Shared(total_bytes);
  for (size_t i = 0; i < tasks.size(); ++i) {
    PreparedTask& task = tasks[i];
    for (size_t j = 0; j < i && task.converts; ++j) {
      if (!SameRows(tasks[j], task)) continue;
      task.product.set_converted(tasks[j].product.converted());
      task.converts = false;
    }
    if (!task.converts) continue;
    task.product.set_converted(memory);
    memory += task.product.form_bytes();
    task.product.ConvertRows(compute, task.task->x);
  }
}

// Strips [begin, end) of all tasks, counted through.
void RunStrips(const PreparedTasks& tasks, size_t begin, size_t end) {
  for (const PreparedTask& task : tasks) {
    const size_t first = std::max(begin, task.first_strip);
    const size_t last = std::min(end, task.first_strip + task.product.strip_count());
    if (first >= last) continue;
    MultiplyInto(task.product, first - task.first_strip, last - task.first_strip, task.task->y);
  }
}

}  // namespace

void MatMul(const Compute& compute, std::span<const MatMulTask> tasks) {
  if (compute.isa == Isa::kReference) {
    for (const MatMulTask& task : tasks) CheckShapes(task);
    MatMulReference(tasks);
    return;
  }
  PreparedTasks prepared = Prepare(compute, tasks);
  if (prepared.empty()) return;
  Scratch own;
  ConvertRows(compute, compute.scratch != nullptr ? *compute.scratch : own, prepared);
  size_t strip_bytes = 0;
  for (const PreparedTask& task : prepared) {
    strip_bytes = std::max(strip_bytes, task.product.strip_bytes());
  }
  const size_t strips = prepared.back().first_strip + prepared.back().product.strip_count();
  compute.pool.ParallelFor(
      strips, StripGrain(strips, strip_bytes, compute.pool.thread_count()),
      [&](size_t begin, size_t end, size_t) { RunStrips(prepared, begin, end); });
}

}  // namespace tessera::kernels
