#!/usr/bin/env bash
# All tests: the Rust tests, then the official Python client against a fresh server.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --locked
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --release --locked
else
    cargo test --release --locked
fi
conformance/run.sh
