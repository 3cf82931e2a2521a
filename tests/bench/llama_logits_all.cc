// What llama.cpp's own bench programs do not time: a prompt with the logits of every position, and
// the seconds from the start of loading to the first token. Not part of the build: vs_llama_cpp.sh
// compiles it against llama.cpp's headers.
//   llama-logits-all MODEL.gguf THREADS TOKENS REPEATS mmap|none
// Prints one line of JSON:
//   load_seconds         model and context
//   first_token_seconds  the same, and a prompt of one token
//   prefill_all          tokens per second of a prompt of TOKENS, all logits asked for, one value a
//   repeat
#include <ggml-backend.h>
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

double Seconds() { return static_cast<double>(llama_time_us()) * 1e-6; }

// Decodes `tokens` from position 0 of an empty cache; false if llama.cpp refuses.
bool Prefill(llama_context* context, const std::vector<llama_token>& tokens) {
  llama_memory_clear(llama_get_memory(context), true);
  llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
  for (const llama_token token : tokens) {
    const int32_t i = batch.n_tokens++;
    batch.token[i] = token;
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  const bool done = llama_decode(context, batch) == 0;
  llama_synchronize(context);
  llama_batch_free(batch);
  return done;
}

// The same tokens on every run, spread over the vocabulary so that the experts are, too.
std::vector<llama_token> Tokens(size_t count, int32_t vocab) {
  std::vector<llama_token> tokens;
  uint64_t state = 42;
  for (size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    tokens.push_back(static_cast<llama_token>((state >> 33) % static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

int Run(const std::string& path, int threads, size_t token_count, int repeats, bool map) {
  const double start = Seconds();
  llama_model_params model_params = llama_model_default_params();
  model_params.load_mode = map ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
  llama_model* model = llama_model_load_from_file(path.c_str(), model_params);
  if (model == nullptr) return 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(token_count);
  params.n_threads = params.n_threads_batch = threads;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) return 1;
  const double loaded = Seconds();

  const auto tokens = Tokens(token_count, llama_vocab_n_tokens(llama_model_get_vocab(model)));
  if (!Prefill(context, {tokens[0]})) return 1;
  const double first = Seconds();
  std::printf("{\"load_seconds\": %.4f, \"first_token_seconds\": %.4f, \"prefill_all\": [",
              loaded - start, first - start);
  for (int i = 0; i < repeats; ++i) {
    const double begin = Seconds();
    if (!Prefill(context, tokens)) return 1;
    std::printf("%s%.2f", i == 0 ? "" : ", ",
                static_cast<double>(token_count) / (Seconds() - begin));
  }
  std::printf("]}\n");
  llama_free(context);
  llama_model_free(model);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s MODEL.gguf THREADS TOKENS REPEATS mmap|none\n", argv[0]);
    return 2;
  }
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all();
  llama_backend_init();
  return Run(argv[1], std::atoi(argv[2]), std::strtoul(argv[3], nullptr, 10), std::atoi(argv[4]),
             std::string(argv[5]) == "mmap");
}
