#!/bin/sh
# Trains the small model of small.train.json once with each balance method, measures the load of its experts on held-out
# documents and draws the pictures of ../README.md.
#
#   compare_balance.sh PROGRAM OUT      PROGRAM: tessera-train; OUT: folder for the runs, goes on with what is there
set -eu
[ $# -eq 2 ] || { echo "usage: $0 PROGRAM OUT" >&2; exit 2; }
program=$1
out=$2
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$out"

# run NAME METHOD RATES: `balance` of the description becomes METHOD with RATES.
run() {
  sed -e "s|\"tokenizer\": .*json\"|\"tokenizer\": \"$here/../../../deploy/models/tessera-demo/tokenizer.json\"|" \
      -e "s|\"method\": \"smebu\", \"rate\": 0.02, \"rate_end\": 0.005|\"method\": \"$2\", $3|" \
      "$here/small.train.json" > "$out/$1.json"
  "$program" train --config="$out/$1.json" --out="$out/$1" --threads=1 --resume
  "$program" balance --model="$out/$1" --threads=1 | tee "$out/$1.balance.txt"
  python3 "$here/draw_steps.py" thin --every=8 "$out/$1/steps.csv" > "$out/$1.csv"
}

smebu='"rate": 0.02, "rate_end": 0.005'
run smebu smebu "$smebu"
run sign sign '"rate": 0.005, "rate_end": 0.005'
run aux aux "$smebu, \"aux_weight\": 0.1"
run none none "$smebu"

names="smebu=$out/smebu.csv sign=$out/sign.csv aux=$out/aux.csv none=$out/none.csv"
# shellcheck disable=SC2086  # names are words
python3 "$here/draw_steps.py" overview --title='Four ways to balance 256 experts' $names > "$out/balance.svg"
for figure in maxvio load; do
  # shellcheck disable=SC2086
  python3 "$here/draw_steps.py" layers --figure=$figure $names > "$out/balance_$figure.svg"
done
