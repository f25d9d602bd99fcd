"""Fifty models of mixed kinds at once on a server whose memory fits about three: soak.py OCHRE

Each ends well or is refused with the bytes that it needs and those that are there; the server's memory never passes its
budget by more than what the program itself takes, and the ledger returns to where it began.
"""
import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROWS, COLUMNS, BUDGET = 400_000, 8, 144 << 20
# Beside the ledger: the program, its threads' stacks, replies, and what the allocator keeps.
PROGRAM = 128 << 20
KINDS = {
    "gbm": dict(ntrees=3, max_depth=6, response_column="y"),
    "drf": dict(ntrees=3, max_depth=8, response_column="y"),
    "xgboost": dict(ntrees=3, max_depth=6, response_column="y"),
    "glm": dict(response_column="y"),
    "kmeans": dict(k=4, max_iterations=3),
    "isolationforest": dict(ntrees=5),
    "naivebayes": dict(response_column="e"),
    "dt": dict(response_column="e", max_depth=5),
}


def main():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    work = tempfile.mkdtemp()
    log = open(os.path.join(work, "log"), "w")
    server = subprocess.Popen([sys.argv[1], "serve", "--port", str(port), "--max-mem", str(BUDGET), "--ice-root", work], stdout=log, stderr=log)

    def call(method, path, **form):
        data = urllib.parse.urlencode(form).encode() if form else (b"" if method == "POST" else None)
        with urllib.request.urlopen(urllib.request.Request(url + path, data=data, method=method), timeout=120) as r:
            return json.load(r)

    def used():
        with urllib.request.urlopen(url + "/metrics") as r:
            return int(re.search(r"^ochre_memory_used_bytes (\d+)", r.read().decode(), re.M)[1])

    def wait(job):
        while True:
            j = call("GET", "/3/Jobs/" + urllib.parse.quote(job, safe=""))["jobs"][0]
            if j["status"] not in ("CREATED", "RUNNING"):
                return j
            time.sleep(0.1)

    def train(i):
        kind = list(KINDS)[i % len(KINDS)]
        form = {"training_frame": "f", "model_id": f"m{i}", "ignored_columns": json.dumps(["e"] if KINDS[kind].get("response_column") != "e" else ["y"])}
        if kind not in ("glm", "naivebayes"):
            form["seed"] = i
        try:
            job = call("POST", f"/3/ModelBuilders/{kind}", **form, **KINDS[kind])["job"]["key"]["name"]
        except urllib.error.HTTPError as e:
            return kind, "REFUSED", json.load(e)["msg"]
        j = wait(job)
        return kind, j["status"], j["exception"] or ""

    try:
        for _ in range(200):
            try:
                call("GET", "/3/Ping")
                break
            except OSError:
                time.sleep(0.05)
        empty = used()
        made = call("POST", "/3/CreateFrame", dest="f", rows=ROWS, cols=COLUMNS, categorical_fraction=0, integer_fraction=0.5, binary_fraction=0,
                    missing_fraction=0.01, seed=1, has_response="true", response_factors=1)
        assert wait(made["key"]["name"])["status"] == "DONE"
        call("POST", "/99/Rapids", ast='(assign f (colnames= (cbind f (as.factor (> (cols f "response") 0))) [0 9] ["y" "e"]))')
        before = used()
        begun = time.time()
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            ends = list(pool.map(train, range(50)))
        took = time.time() - begun
        well = [k for k, s, _ in ends if s == "DONE"]
        refused = [(k, why) for k, s, why in ends if s != "DONE"]
        for kind, why in refused:
            assert re.search(r"\d", why) and "memory" in why, f"{kind} ended without saying why: {why}"
        for kind in KINDS:
            assert kind in well or any(k == kind for k, _ in refused)
        held = used()
        for m in call("GET", "/3/Models")["models"]:
            call("DELETE", "/3/Models/" + m["model_id"]["name"])
        after = used()
        with open(f"/proc/{server.pid}/status") as f:
            peak = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) << 10
        print(f"budget {BUDGET >> 20} MiB, frame {(before - empty) >> 20} MiB: {len(well)} of 50 models trained, {len(refused)} refused, in {took:.1f} s;"
              f" ledger {before:,} before, {held:,} with models, {after:,} after; peak of the process {peak >> 20} MiB")
        for kind, why in {k: w for k, w in refused}.items():
            print(f"  {kind}: {' '.join(why.split())[:230]}")
        assert len(well) >= 25, "too many were refused"
        # Less where chunks of the frame were written out meanwhile.
        assert after <= before, "memory was kept"
        assert peak <= BUDGET + PROGRAM, "more memory was taken than the budget allows"
    finally:
        server.kill()
        server.wait()


main()
