#!/usr/bin/env bash
# Times `tessera bench` against llama.cpp on the same random Trinity-shaped weights and prints a
# Markdown table of medians and ratios. tests/bench/README.md says what is compared with what.
#   vs_llama_cpp.sh [--model=nano|large] [--cache=DIR] [--rounds=N] [--threads=N] [--dtypes=bf16,q8]
# llama.cpp comes from two npm packages (source, and libraries built for every x86-64 level) and stays
# in the cache folder with the checkpoints, outside of the project. Skips, loudly and with exit code 0,
# where what is needed to get it is missing. The large checkpoint takes 36 GiB of disk and is for runs
# by hand.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(readlink -f "$here/../..")
version=3.22.1  # of node-llama-cpp: llama.cpp v0.5.0, which knows AFMoE

model=nano
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tessera-bench
dtypes=bf16,q8
forward=()
for argument in "$@"; do
  case $argument in
    --model=nano | --model=large) model=${argument#*=} ;;
    --cache=*) cache=${argument#*=} ;;
    --dtypes=*) dtypes=${argument#*=} ;;
    --rounds=* | --threads=*) forward+=("$argument") ;;
    *) sed -n '2,/^set/{/^# /s/^# //p}' "$0" >&2 && exit 2 ;;
  esac
done

skip() {
  printf '\nSKIPPED: no comparison with llama.cpp: %s\n\n' "$*" >&2
  exit 0
}

# The system's python3, which is the one Debian's numpy belongs to.
python=/usr/bin/python3
for tool in npm git g++ tar; do
  command -v "$tool" >/dev/null || skip "$tool is not installed"
done
"$python" -c 'import numpy' 2>/dev/null || skip "python3-numpy is not installed"

fetch_peer() {
  local name archive
  mkdir -p "$cache/npm/s" "$cache/npm/b"
  for name in node-llama-cpp @node-llama-cpp/linux-x64; do
    archive=${name#@}
    archive=$cache/npm/${archive//\//-}-$version.tgz
    [[ -e $archive ]] || (cd "$cache/npm" && npm pack --silent "$name@$version" >/dev/null) ||
      skip "npm cannot fetch $name@$version"
    if [[ $name == @* ]]; then tar xzf "$archive" -C "$cache/npm/b"; else tar xzf "$archive" -C "$cache/npm/s"; fi
  done
  git clone -q "$cache/npm/s/package/llama/gitRelease.bundle" "$cache/llama.cpp"
}

# peer_program NAME SOURCE...: compiled against the prebuilt libraries, which choose their own level.
peer_program() {
  local name=$1 source=$cache/llama.cpp
  shift
  [[ $cache/pre/$name -nt $1 ]] && return
  echo "building $name" >&2
  g++ -O2 -DNDEBUG -std=c++20 -I"$source/include" -I"$source/ggml/include" -I"$source/common" \
    -I"$source/vendor" "$@" -o "$cache/pre/$name" -L"$cache/pre" -l:libllama-common.so \
    -l:libllama.v0.5.0.so -l:libggml.v0.5.0.so -l:libggml-base.so \
    -Wl,-rpath,"\$ORIGIN" -Wl,--allow-shlib-undefined -pthread
}

[[ -e $cache/llama.cpp/include/llama.h ]] || fetch_peer
if [[ ! -e $cache/pre/libggml-base.so ]]; then
  mkdir -p "$cache/pre"
  cp "$cache"/npm/b/package/bins/linux-x64/*.so "$cache/pre/"
fi
tools=$cache/llama.cpp/tools
peer_program llama-bench "$tools/llama-bench/llama-bench.cpp" "$tools/llama-bench/main.cpp"
peer_program llama-batched-bench "$tools/batched-bench/batched-bench.cpp" "$tools/batched-bench/main.cpp"
peer_program llama-logits-all "$here/llama_logits_all.cc"

shape=$model-slice
models=$cache/models/$shape
gguf=()
for dtype in ${dtypes//,/ }; do
  gguf+=("$models/$shape-${dtype/q8/q8_0}.gguf")
done
complete=true
for file in "$models/hf/model.safetensors" "${gguf[@]}"; do
  [[ -e $file ]] || complete=false
done
if ! $complete; then
  if [[ $model == large && $(df --output=avail -B1G "$cache" | tail -1) -lt 40 ]]; then
    skip "the large checkpoint takes 36 GiB, and $cache has less"
  fi
  echo "generating $shape in $models" >&2
  "$python" "$here/make_afmoe.py" "$shape" --out "$models" --gguf "${dtypes/q8/q8_0}" >&2
fi

"$root/tessera" build
"$python" "$here/compare_engines.py" --tessera="$root/build/release/bin/tessera" --peer="$cache/pre" \
  --models="$models" --shape="$shape" --dtypes="$dtypes" ${forward[@]+"${forward[@]}"}
