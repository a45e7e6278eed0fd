#!/usr/bin/env bash
# demo.sh FILE.png: starts the built server on free ports, makes a labelled contact sheet with the real
# client, and stops the server. `./dev demo` builds both first.
set -euo pipefail

readonly picture=$1
readonly bin=build/release/bin
log=$(mktemp)
readonly log
server_pid=

stop() {
  local status=$?
  trap - EXIT INT TERM
  if [[ -n $server_pid ]]; then
    kill -TERM "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  if ((status != 0 && status != 130)) && [[ -s $log ]]; then
    printf 'The server said:\n' >&2
    tail -n 20 "$log" >&2
  fi
  rm -f "$log"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "Starting the server ..."
coproc SERVER {
  exec "$bin/skipstream-server" --listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0 --warmup_budget=1 2>"$log"
}
# shellcheck disable=SC2153 # coproc sets SERVER_PID
server_pid=${SERVER_PID:-}
address=
if read -r -t 60 line <&"${SERVER[0]}" && [[ $line == 'listening on '* ]]; then
  address=${line#listening on }
else
  echo 'The server did not come up.' >&2
  exit 1
fi

"$bin/skipstream" generate --server="$address" \
  --rows=9:0.9,9:1.0,9:1.05,35:1.0 \
  --class=fox,frog,owl,panda,unicorn,mushroom,pizza,ufo --seed=1-8 \
  --scale=4 --out="$picture" \
  --title='nouns32, skip-tuned: same seeds in every row'

cat <<END

Look at ${picture#"$PWD/"}: at few network evaluations (NFE), rho changes what a row looks like.

Try next, in one terminal (--help lists its flags):

  ./dev serve

and in another:

  $bin/skipstream generate --class=fox --nfe=9 --seed=1-8 --rho=0.8,0.9,1.0,1.1 --scale=4 --out=foxes.png
  $bin/skipstream generate --help
  $bin/skipstream models
END
