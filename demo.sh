#!/usr/bin/env bash
# Builds ochre, starts it, and runs the main job on a data set in this repository with the official Python client.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --locked
export DO_NOT_TRACK=1
venv=${OCHRE_VENV:-$PWD/.venv}
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import h2o' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q 'h2o_client==3.46.0.11'
fi
port=${PORT:-54321}
"${CARGO_TARGET_DIR:-target}/release/ochre" serve --port "$port" --log-level warn &
pid=$!
trap 'kill "$pid" 2>/dev/null || true' EXIT
until "$venv/bin/python" -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/3/Ping')" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || exit 1
    sleep 0.1
done
"$venv/bin/python" -W ignore examples/quickstart.py "http://127.0.0.1:$port"
