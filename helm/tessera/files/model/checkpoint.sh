#!/bin/sh
# checkpoint.sh FOLDER SHA256SUMS [COMMAND...]: FOLDER holds what SHA256SUMS says, or this fails.
#
#   remembered? ── yes ──► done
#       │ no
#   is there? ── yes ──► compare ──► remember ──► done
#       │ no                ▲
#       └► COMMAND fills FOLDER.part, compare, rename to FOLDER (one pod at a time)
#
# The command finds the folder it writes to in $TARGET; what an earlier try left there is still there. $FILES are the names in
# SHA256SUMS, a line each: what is needed, and it need not bring more.
set -eu
folder=$1 sums=$2
shift 2
mark=$folder/.verified
digest=$(sha256sum <"$sums")

say() { printf 'checkpoint: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}
compare() { (cd "$1" && sha256sum --check --strict --quiet "$sums") >&2; }
remembered() { [ -r "$mark" ] && [ "$(cat "$mark")" = "$digest" ]; }
remember() {
  # A volume that cannot be written is compared again at every start.
  { printf '%s\n' "$digest" >"$mark.$$" && mv "$mark.$$" "$mark"; } 2>/dev/null || rm -f "$mark.$$"
}

if remembered; then
  say "$folder was compared before"
  exit 0
fi
if [ ! -d "$folder" ]; then
  [ $# -gt 0 ] || die "$folder is not there, and no command was given that fills it"
  parent=$(dirname "$folder")
  mkdir -p "$parent" 2>/dev/null || true
  { [ -d "$parent" ] && [ -w "$parent" ]; } || die "user $(id -u) cannot write to $parent, where $folder is to be: chown it"
  exec 9>"$folder.lock"
  flock 9
fi
if [ ! -d "$folder" ]; then
  TARGET=$folder.part
  FILES=$(sed 's/^[0-9a-f]* [ *]//' "$sums")
  export TARGET FILES
  mkdir -p "$TARGET"
  say "filling $folder"
  "$@" 9>&- || die "the command failed; what it wrote stays in $TARGET"
  if ! compare "$TARGET"; then
    rm -rf "$TARGET"
    die "what the command wrote is not what SHA256SUMS says; it was removed"
  fi
  mv "$TARGET" "$folder"
else
  remembered || compare "$folder" || die "$folder is not what SHA256SUMS says"
fi
remember
say "$folder is what SHA256SUMS says"
