#!/usr/bin/env bash
# Two peers on one machine: the first shares a folder, the second fetches it.   examples/two_peers.sh [FOLDER]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here}
work=$(mktemp -d)
trap 'kill "$node" 2>/dev/null; wait "$node" 2>/dev/null; rm -rf "$work"' EXIT

# A home is a peer. Port 0 takes any free port, and a network name of our own keeps us apart from everybody else.
shoal --home "$work/first" node --listen 127.0.0.1:0 --network example >"$work/ready" &
node=$!
until grep -q ready "$work/ready"; do kill -0 "$node"; sleep 0.1; done

link=$(shoal --home "$work/first" share "$folder")
fetched=$(shoal --home "$work/second" get "$link" --out "$work/out" --network example --listen 127.0.0.1:0)
diff -r "$folder" "$fetched" && echo "the same files arrived in $fetched"
