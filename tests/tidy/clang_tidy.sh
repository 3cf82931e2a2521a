#!/usr/bin/env bash
# clang-tidy (version 14, what Debian 12 has) with .clang-tidy over sources of ours.
#   clang_tidy.sh                 every source and header of the release build
#   clang_tidy.sh --changed       those that differ from TESSERA_BASE (default: the previous commit)
#   clang_tidy.sh FILE...         these
# --seconds=N begins no further file after N seconds and says how many were left out.
# Needs ./tessera build first: the flags come from build/release/compile_commands.json.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

build=build/release
seconds=1000000
changed=false
files=()
for argument in "$@"; do
  case $argument in
    --seconds=*) seconds=${argument#*=} ;;
    --changed) changed=true ;;
    -*) sed -n '2,/^set/{/^# /s/^# //p}' "$0" && exit 2 ;;
    *) files+=("$argument") ;;
  esac
done

tool=$(command -v clang-tidy-14 || command -v clang-tidy || true)
if [[ -z $tool ]]; then
  echo "SKIPPED: clang-tidy is not installed (Debian: clang-tidy)"
  exit 0
fi
[[ -e $build/compile_commands.json ]] || { echo "no $build/compile_commands.json: run ./tessera build" >&2; exit 1; }

if $changed; then
  base=${TESSERA_BASE:-HEAD~1}
  git rev-parse -q --verify "$base^{commit}" >/dev/null || base=$(git hash-object -t tree /dev/null)
  mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- '*.cc' '*.h')
elif ((${#files[@]} == 0)); then
  mapfile -t files < <(git ls-files '*.cc' '*.h')
fi

# A header is checked through the source generated for it, which includes it alone. What the release
# build does not compile (a part switched off) has no flags to check it with.
sources=()
for file in ${files[@]+"${files[@]}"}; do
  source=$PWD/$file
  if [[ $file == *.h ]]; then source=$PWD/$build/headers/$file.cc; fi
  if grep -qF "\"file\": \"$source\"" "$build/compile_commands.json"; then
    sources+=("$source")
  else
    echo "not in the release build, not checked: $file"
  fi
done
echo "clang-tidy on ${#sources[@]} files"
((${#sources[@]} > 0)) || exit 0
# The precompiled header of the tests is gcc's; what it includes the tests include themselves.
flags=$build/clang_tidy
mkdir -p "$flags"
sed 's/-Winvalid-pch -include [^ ]*cmake_pch\.hxx//' "$build/compile_commands.json" >"$flags/compile_commands.json"

check() {
  if (($(date +%s) > $1)); then
    echo "out of time, not checked: ${4#"$PWD/"}"
    return
  fi
  # Only clang's "N warnings generated" goes to standard error.
  "$2" -p "$3" --quiet "$4" 2>/dev/null || { echo "clang-tidy refuses ${4#"$PWD/"}"; return 1; }
}
export -f check
printf '%s\0' "${sources[@]}" |
  xargs -0 -n 1 -P "$(nproc)" bash -c 'check "$@"' check "$(($(date +%s) + seconds))" "$tool" "$flags"
