#!/usr/bin/env bash
# Drives a fresh ochre server with the official Python client: conformance/run.sh [path of the ochre binary]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
ochre=${1:-${CARGO_TARGET_DIR:-$root/target}/release/ochre}
venv=${OCHRE_VENV:-$root/.venv}
export DO_NOT_TRACK=1
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import h2o' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q 'h2o_client==3.46.0.11'
fi
work=$(mktemp -d)
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$ochre" serve --port "$port" --ice-root "$work/ice" --max-mem 2g >"$work/ochre.log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    if curl -sf "http://127.0.0.1:$port/3/Ping" >/dev/null; then break; fi
    sleep 0.05
done
fail() { echo "FAILED: $1"; echo "--- last lines of the server's log"; tail -20 "$work/ochre.log"; exit 1; }
"$venv/bin/python" -W ignore "$here/check.py" "http://127.0.0.1:$port" || fail "the main job differs from the goldens"
"$venv/bin/python" -W ignore "$here/parsing.py" "http://127.0.0.1:$port" || fail "a file is read otherwise than by the reference"
"$venv/bin/python" -W ignore "$here/formats.py" "http://127.0.0.1:$port" || fail "a file was not read back as it was written"
"$venv/bin/python" -W ignore "$here/linear.py" "http://127.0.0.1:$port" || fail "a linear model differs from the reference"
"$venv/bin/python" -W ignore "$here/boosting.py" "http://127.0.0.1:$port" || fail "a boosted model differs from the xgboost package"
"$venv/bin/python" -W ignore "$here/trees.py" "http://127.0.0.1:$port" || fail "a tree differs from the reference"
"$venv/bin/python" -W ignore "$here/survival.py" "http://127.0.0.1:$port" || fail "a survival model differs from the reference"
"$venv/bin/python" -W ignore "$here/rooms.py" "http://127.0.0.1:$port" || fail "a model of a smaller room differs from the reference"
"$venv/bin/python" -W ignore "$here/mixed.py" "http://127.0.0.1:$port" || fail "a mixed model differs from statsmodels"
"$venv/bin/python" -W ignore "$here/custom.py" "http://127.0.0.1:$port" || fail "a function that a user wrote does something else"
"$venv/bin/python" -W ignore "$here/effective.py" "http://127.0.0.1:$port" || fail "a parameter is told otherwise than by the reference"
"$venv/bin/python" -W ignore "$here/metrics.py" "http://127.0.0.1:$port" || fail "a metric differs from the reference"
"$venv/bin/python" -W ignore "$here/client.py" "http://127.0.0.1:$port" || fail "a call of the client does something else than it says"
"$venv/bin/python" -W ignore "$here/rapids.py" "http://127.0.0.1:$port" || fail "a primitive differs from the reference"
"$venv/bin/python" -W ignore "$here/command_line.py" "http://127.0.0.1:$port" "$ochre" || fail "the command line differs from the server"
"$venv/bin/python" -W ignore "$here/mojo.py" "http://127.0.0.1:$port" "$ochre" || fail "an exported model scores differently"
"$venv/bin/pip" install -q 'onnxruntime>=1.20' 'pandas>=2' 'polars>=1' 'pyarrow>=14'
mkdir "$work/packages"
cp -r "$root/bindings/python/python/ochre_score" "$work/packages/"
cp "$(dirname "$ochre")/lib_native.so" "$work/packages/ochre_score/_native.abi3.so"
PYTHONPATH="$work/packages" "$venv/bin/python" -W ignore "$here/portable.py" "http://127.0.0.1:$port" "$ochre" || fail "a model scores differently outside of the server"
"$venv/bin/python" -W ignore "$here/robustness.py" "http://127.0.0.1:$port" || fail "the server did not survive"
"$venv/bin/python" -W ignore "$here/fuzz.py" "http://127.0.0.1:$port" || fail "a random request was a fault"
"$venv/bin/python" -W ignore "$here/bad_input.py" "http://127.0.0.1:$port" "$ochre" || fail "bad input was not told clearly"
kill -0 "$pid" 2>/dev/null || fail "the server is gone"
kill "$pid"
"$venv/bin/python" -W ignore "$here/objects.py" "$ochre" || fail "an object store is not read or written as files are"
"$venv/bin/python" -W ignore "$here/soak.py" "$ochre" || fail "memory is short and jobs do not share it"
"$venv/bin/pip" install -q 'kubernetes-validate==1.37.0' 'pyyaml>=6'
"$venv/bin/python" -W ignore "$here/deploy.py" "$ochre" || fail "a file under deploy/ is wrong"
"$venv/bin/python" -u -W ignore "$here/cluster.py" "$ochre" 2>&1 | grep -v "^Closing connection" || fail "a cluster failed"
echo "conformance: all passed"
