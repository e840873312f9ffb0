#!/usr/bin/env bash
# The smallest feeder: a few metrics of this Linux host from /proc to POST /feed/data, once a minute or, with --once, once.
# `nordiq-watch agent` measures more and keeps samples while the daemon is away.
#
#   NORDIQ_API_KEY=$(head -n 1 .nordiq_key) examples/feed.sh [--once]
set -euo pipefail

: "${NORDIQ_URL:=http://127.0.0.1:8000}" "${NORDIQ_API_KEY:?put the API key of the daemon into NORDIQ_API_KEY}"

sample() {
    local memory load
    memory=$(awk '/^MemTotal/ {total = $2} /^MemAvailable/ {free = $2} END {printf "%.2f", 100 * (1 - free / total)}' /proc/meminfo)
    read -r load _ </proc/loadavg
    printf '{"records": [{"timestamp": "%s", "server_name": "%s", "mem_used_pct": %s, "load_average": %s}]}' \
        "$(date -u +%FT%TZ)" "$(hostname)" "$memory" "$load"
}

send() {
    sample | curl --silent --show-error --fail-with-body --max-time 10 --header "X-API-Key: $NORDIQ_API_KEY" \
        --header "Content-Type: application/json" --data @- "$NORDIQ_URL/feed/data"
    echo
}

send
while [[ ${1:-} != --once ]]; do
    sleep 60
    send || true # the daemon may be back in a minute
done
