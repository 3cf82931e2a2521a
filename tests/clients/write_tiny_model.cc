// Writes a small model with random weights that a cluster can serve.
//   tests_write_tiny_model FOLDER [CONTEXT]

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/support/tiny_tokenizer.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: tests_write_tiny_model FOLDER [CONTEXT]\n");
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  const size_t context = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 512;
  tessera::testing::WriteTinyServedModel(tessera::testing::TinyServedSpec(context), argv[1]);
  return 0;
}
