#include "common/admin/process_usage.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace tessera {

namespace {

// Unix time; 0: unknown.
double BootSeconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word) {
    if (word == "btime") return file >> seconds ? seconds : 0;
  }
  return 0;
}

}  // namespace

ProcessUsage ReadProcessUsage() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is the program's name in parentheses, which may hold anything.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(line.substr(name_end + 1));
  std::vector<std::string> fields;  // from field 3 of proc(5) on
  for (std::string field; rest >> field;) fields.push_back(field);
  if (fields.size() < 22) return {};
  const auto number = [&fields](size_t field) { return std::stoull(fields[field - 3]); };
  ProcessUsage usage;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  usage.cpu_seconds = static_cast<double>(number(14) + number(15)) / ticks;
  const double boot = BootSeconds();
  if (boot > 0) usage.start_seconds = boot + static_cast<double>(number(22)) / ticks;
  usage.thread_count = number(20);
  usage.resident_bytes = number(24) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return usage;
}

}  // namespace tessera
