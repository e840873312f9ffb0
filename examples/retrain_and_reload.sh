#!/usr/bin/env bash
# Trains a new version, sees it go live, and proves that the daemon's answers are its own.
#
#   examples/retrain_and_reload.sh DATASET [MINUTES]
#
# It trains for MINUTES at most (15); TRAIN_OPTIONS may set another limit beside that.
#
# Every night at three, from cron:
#   0 3 * * * cd /opt/nordiq_watch && NORDIQ_API_KEY=$(head -n 1 .nordiq_key) examples/retrain_and_reload.sh /srv/metrics 30 >> logs/retrain.log 2>&1
#
# Environment:
#   NORDIQ_API_KEY   the daemon's API key (else the first line of .nordiq_key)
#   NORDIQ_URL       the daemon's address (http://127.0.0.1:8000)
#   PROGRAM          the command line (nordiq-watch)
#   CONFIG           its config file (config.yaml)
#   MODELS_DIR       where the daemon looks for versions (models)
#   TRAIN_OPTIONS    more options for train, such as --incremental
#   WAIT_SECONDS     how long the watcher may take before a reload is asked for (60)
#
# Exit codes: 0 the new version is live; 2 wrong use; 3 the training failed, or its model is worse than repeating the last
# value; 4 the daemon does not answer or refuses the key; 5 another version is pinned, so the new one was left alone; 6 the
# daemon refused the new version; 7 the daemon's answers are not the new version's.
set -euo pipefail

fail() { # code, message
    echo "error: $2" >&2
    exit "$1"
}

say() { echo "$(date -u +%FT%TZ) $*"; }

api() { # method, path: prints the body; fails without an answer or with a refused key, not with other errors
    local answer
    answer=$(curl --silent --show-error --max-time 150 --request "$1" --header @- --write-out '\n%{http_code}' \
        "$NORDIQ_URL$2" <<<"X-API-Key: $NORDIQ_API_KEY") || fail 4 "no daemon answers at $NORDIQ_URL"
    [[ ${answer##*$'\n'} != 401 ]] || fail 4 "the daemon at $NORDIQ_URL refuses the API key"
    echo "${answer%$'\n'*}"
}

live_version() { api GET /admin/model-info | jq -r '.model_name // "none"'; }

[[ $# -ge 1 && $# -le 2 ]] || fail 2 "usage: $0 DATASET [MINUTES]"
dataset=$1
minutes=${2:-15}
: "${NORDIQ_URL:=http://127.0.0.1:8000}" "${PROGRAM:=nordiq-watch}" "${CONFIG:=config.yaml}"
: "${MODELS_DIR:=models}" "${TRAIN_OPTIONS:=}" "${WAIT_SECONDS:=60}"
for tool in curl jq "${PROGRAM%% *}"; do
    command -v "$tool" >/dev/null || fail 2 "$tool is not installed"
done
[[ -e $dataset ]] || fail 2 "$dataset does not exist"
if [[ -z ${NORDIQ_API_KEY:-} ]]; then
    [[ -r .nordiq_key ]] || fail 2 "set NORDIQ_API_KEY; there is no readable .nordiq_key in $PWD"
    read -r NORDIQ_API_KEY <.nordiq_key || true
fi

info=$(api GET /admin/model-info) # before the hours of training: is anybody there, and may the model change?
if [[ $(jq -r .pinned <<<"$info") == true ]]; then
    fail 5 "$(jq -r .model_name <<<"$info") is pinned; end that first with: nordiq-watch unpin"
fi

say "training on $dataset for $minutes minutes at most"
# shellcheck disable=SC2086  # options and commands may be several words
output=$($PROGRAM train --dataset "$dataset" --max-minutes "$minutes" --models-dir "$MODELS_DIR" --config "$CONFIG" \
    $TRAIN_OPTIONS) || fail 3 "the training failed; it says above why"
version=$(basename "$(tail -n 1 <<<"$output")")
say "trained $version"

deadline=$((SECONDS + WAIT_SECONDS))
live=$(live_version)
while [[ $live != "$version" && $SECONDS -lt $deadline ]]; do
    sleep 1
    live=$(live_version)
done
if [[ $live != "$version" ]]; then
    say "the watcher did not load it within $WAIT_SECONDS s; asking for a reload"
    answer=$(api POST /admin/reload-model)
    [[ $(jq -r .success <<<"$answer") == true ]] ||
        fail 6 "the daemon refused $version: $(jq -r '.reason // .detail // .error' <<<"$answer")"
fi

metadata=$(api GET /predictions/current | jq -c '.metadata // {}')
[[ $(jq -r .model_type <<<"$metadata") == TFT ]] || fail 7 "metadata.model_type is not TFT: $metadata"
[[ $(jq -r .model_version <<<"$metadata") == "$version" ]] || fail 7 "the answers are not $version's: $metadata"
say "$version is live"
