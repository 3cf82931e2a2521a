#include "services/gateway/rest/text_workers.h"

#include <string>

namespace tessera::gateway {

TextWorkers::TextWorkers(size_t thread_count, size_t waiting_max) : tasks_(waiting_max) {
  for (size_t i = 0; i < thread_count; ++i) {
    threads_.emplace_back("text-" + std::to_string(i), [this](std::stop_token) {
      while (auto task = tasks_.Pop()) (*task)();
    });
  }
}

void TextWorkers::Stop() {
  tasks_.Close();
  for (Thread& thread : threads_) thread.Join();
  threads_.clear();
}

}  // namespace tessera::gateway
