# For scripts that tests are run by, to be sourced: a test that lacks what it needs is skipped, loudly; ctest knows 77.
skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
need_node() {
  command -v node >/dev/null || skip "there is no node"
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || skip "node is $(node --version), the tests need 20 or later"
}
