#!/bin/sh
# A backup of a daemon's directory while it runs: hot_backup.sh FROM TO. TO must not exist.
# SQLite's own copies; the journal before the archive, so that what moves between them is in at least one.
set -eu
from=$1 to=$2
[ ! -e "$to" ] || { echo "$to is there already" >&2; exit 1; }
umask 077
mkdir -p "$to/state/archive"

save() {  # save PATH-BELOW-FROM
    sqlite3 "$from/$1" ".timeout 60000" ".backup '$to/$1'"
}

save state/journal.sqlite3
for file in "$from"/state/archive/*.sqlite3; do
    [ ! -e "$file" ] || save "state/archive/${file##*/}"
done
for name in history accuracy; do
    [ ! -e "$from/state/$name.sqlite3" ] || save "state/$name.sqlite3"
done
for name in state/decisions.json state/clusters.json state/reloads.jsonl config.yaml .nordiq_key models; do
    [ ! -e "$from/$name" ] || cp -a "$from/$name" "$to/$name"
done
