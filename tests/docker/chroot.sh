#!/bin/sh
# chroot.sh SOURCES FOLDER: runs the steps of docker/Dockerfile in Debian folders made by debootstrap, below FOLDER, in
# mount and process namespaces of its own. 77 means skipped. The base system is kept for the next run.
#
# From the environment: TESSERA_CHROOT_CCACHE=1  compile through this machine's ccache, which the image does not do
set -eu
sources=$1 folder=$2
skip() {
  echo "SKIPPED: $1; no step of the Dockerfile was run" >&2
  exit 77
}
[ "$(id -u)" = 0 ] || skip "debootstrap and chroot take root"
for program in debootstrap chroot unshare ip node; do
  command -v "$program" >/dev/null || skip "there is no $program"
done
unshare --mount --pid --net --fork --mount-proc true 2>/dev/null || skip "namespaces are not permitted"
mkdir -p "$folder"
if [ ! -e "$folder/base.made" ]; then
  rm -rf "$folder/base"
  debootstrap --variant=minbase bookworm "$folder/base" >"$folder/debootstrap.log" 2>&1 ||
    skip "debootstrap made no system: $(tail -n 1 "$folder/debootstrap.log")"
  touch "$folder/base.made"
fi
here=$(dirname "$0")
exec unshare --mount --propagation private --pid --fork --mount-proc node "$here/chroot.mjs" "$sources" "$folder"
