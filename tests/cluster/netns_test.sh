#!/bin/bash
# Router and shards in network namespaces of their own, over TCP, around a bridge in another one.
# One shard loses its port of the bridge for five seconds, under traffic: both ends keep their
# carrier, so that nobody is told. No request may fail, every token is the one of a quiet run.
#
#   netns_test.sh BIN_DIR MODEL_DIR
#
# Exit code 77: skipped, namespaces are not permitted here.
set -u
bin=$1
model=$2
id=tsr$$
net=10.77.0
# Asked for are 250 ms with a replica and 2 s without on a quiet box; see process_loss_test.cc.
gap_max_replica=1500
gap_max_alone=4000

skip() {
  echo "SKIPPED: $1; nothing was tested"
  exit 77
}
command -v ip >/dev/null || skip "there is no 'ip' (iproute2)"

work=$(mktemp -d)
pids=()
stop_all() {
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  pids=()
}
cleanup() {
  stop_all
  for name in bridge router shard0 shard1; do ip netns del "$id-$name" 2>/dev/null; done
  rm -rf "$work"
}
trap cleanup EXIT
fail() {
  echo "FAILED: $1"
  for log in "$work"/*.log; do echo "--- $log"; tail -n 40 "$log"; done
  exit 1
}

# A namespace with eth0 = NET.$2 at the bridge. Its lo stays down: nothing can go around the bridge.
add_host() {
  ip netns add "$id-$1" && ip -n "$id-bridge" link add "p-$1" type veth peer name eth0 netns "$id-$1" &&
    ip -n "$id-bridge" link set "p-$1" master br0 up && ip -n "$id-$1" addr add "$net.$2/24" dev eth0 &&
    ip -n "$id-$1" link set eth0 up
}
{ ip netns add "$id-bridge" && ip -n "$id-bridge" link add br0 type bridge &&
  ip -n "$id-bridge" addr add "$net.254/24" dev br0 && ip -n "$id-bridge" link set br0 up; } 2>"$work/net.log" ||
  skip "network namespaces with a bridge are not permitted ($(tail -n 1 "$work/net.log"))"
{ add_host router 1 && add_host shard0 10 && add_host shard1 11; } 2>>"$work/net.log" ||
  skip "veth pairs between namespaces are not permitted ($(tail -n 1 "$work/net.log"))"

# start NAMESPACE PROGRAM: with $work/NAMESPACE.config; returns when it listens.
start() {
  rm -f "$work/$1.json"
  ip netns exec "$id-$1" "$bin/$2" "--config=$work/$1.config" >>"$work/$1.log" 2>&1 &
  pids+=($!)
  await "$2 in $1 to listen" test -e "$work/$1.json"
}
await() {
  local what=$1 tries=0
  shift
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -le 600 ] || fail "waited for $what"
    sleep 0.1
  done
}
compute='"compute": {"threads": 1, "precision": "float32"}'
write_configs() {
  cat >"$work/router.config" <<EOF
{"model": "$model", "grpc_listen": "$net.1:8010", "admin_listen": "", "strict": true, $compute,
 "endpoints_file": "$work/router.json"}
EOF
  for i in 0 1; do
    cat >"$work/shard$i.config" <<EOF
{"model": "$model", "shard_id": $i, "shard_count": 2, "replicas": $1, "grpc_listen": "$net.1$i:8020",
 "admin_listen": "", "data_listen": "ucx:$net.1$i:8021", "ucx": {"transports": "tcp,self"},
 "router_addresses": ["$net.1:8010"], "endpoints_file": "$work/shard$i.json", $compute}
EOF
  done
}
connections() { grep -c "shard $1 connected over" "$work/router.log"; }
connected() { [ "$(connections "$1")" -gt "$2" ]; }
# traffic NAME: 24 requests; prints the longest gap in milliseconds.
traffic() {
  ip netns exec "$id-bridge" "$bin/cluster_traffic" "$net.1:8010" 300 "$work/$1.tokens" "$work/$1.under_way" \
    >"$work/$1.gap" 2>>"$work/traffic.log"
}

run() {  # copies of each expert, longest gap allowed
  rm -f "$work"/*.log "$work"/*.tokens "$work"/*.under_way
  write_configs "$1"
  start router tessera-router
  start shard0 tessera-expert
  start shard1 tessera-expert
  await "a link to shard 0" connected 0 0
  await "a link to shard 1" connected 1 0
  grep "connected over" "$work/router.log" | grep -q posix && fail "shared memory is no network"
  traffic quiet || fail "the quiet run"

  local before
  before=$(connections 0)
  traffic loss &
  local client=$!
  await "traffic" test -e "$work/loss.under_way"
  ip -n "$id-bridge" link set p-shard0 nomaster || fail "taking the port off the bridge"
  [ "$(ip netns exec "$id-shard0" cat /sys/class/net/eth0/carrier)" = 1 ] || fail "the carrier went too"
  wait $client || fail "requests while shard 0 was cut off"
  traffic without || fail "requests that began while shard 0 was cut off"
  sleep 5  # the length of the loss is what is tested
  ip -n "$id-bridge" link set p-shard0 master br0 || fail "putting the port back"
  await "shard 0 to come back" connected 0 "$before"
  traffic back || fail "requests after the loss"

  for name in loss without back; do
    cmp "$work/quiet.tokens" "$work/$name.tokens" || fail "other tokens: $name"
  done
  echo "$1 copies: longest gap between tokens: quiet $(cat "$work/quiet.gap") ms," \
    "loss $(cat "$work/loss.gap") ms, without the shard $(cat "$work/without.gap") ms," \
    "back $(cat "$work/back.gap") ms"
  [ "$(cat "$work/loss.gap")" -le "$2" ] || fail "a gap of $(cat "$work/loss.gap") ms, at most $2 are allowed"
  stop_all
}
run 2 $gap_max_replica
run 1 $gap_max_alone
