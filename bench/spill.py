"""Sort, join and group-by of data three times larger than the memory that the server may use.

    python bench/spill.py DIR ROWS [--times 3]

DIR holds the tables of the db-benchmark (see relational.py). The frames are parsed once by a server with enough memory, to
learn their size; then a second server with a third of that does the work. Answers are compared with Polars'; time, peak
memory of the process and bytes on disk are printed. Needs `pip install h2o==3.46.0.11 polars`.
"""
import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings

os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")
import h2o  # noqa: E402
import polars as pl  # noqa: E402

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
parser = argparse.ArgumentParser()
parser.add_argument("dir")
parser.add_argument("rows", type=int)
parser.add_argument("--times", type=float, default=3)
args = parser.parse_args()
G, J = f"G1_{args.rows}", f"J1_{args.rows}"
path = lambda name: os.path.join(args.dir, f"{name}.csv")  # noqa: E731
binary = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target")), "release", "ochre")


class Server:
    def __init__(self, memory):
        self.ice = tempfile.TemporaryDirectory()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{s.getsockname()[1]}"
        command = [binary, "serve", "--port", self.url.rsplit(":", 1)[1], "--max-mem", str(memory), "--ice-root", self.ice.name]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                self.get("/3/Cloud")
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the server ended at its start")
                time.sleep(0.01)
        threading.Thread(target=self.watch, daemon=True).start()
        h2o.connect(url=self.url, verbose=False)
        h2o.no_progress()

    def get(self, route):
        return json.loads(urllib.request.urlopen(self.url + route, timeout=600).read())

    def watch(self):
        """Keeps the most memory that is the process's own; pages of files that it reads belong to the system."""
        self.peak = 0
        while self.process.poll() is None:
            with contextlib.suppress(OSError, StopIteration), open(f"/proc/{self.process.pid}/status") as f:
                self.peak = max(self.peak, next(int(line.split()[1]) / 1024 for line in f if line.startswith("RssAnon")))
            time.sleep(0.005)

    def disk(self):
        return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(self.ice.name) for f in files) / 2**20

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.ice.cleanup()


server = Server("16g")
sizes = {}
for name in (G, f"{J}_x", f"{J}_big"):
    frame = h2o.import_file(path(name), destination_frame=name)
    sizes[name] = server.get(f"/3/Frames/{name}/summary")["frames"][0]["byte_size"]
server.stop()
print("frames in memory:", {k: f"{v / 2**20:.0f} MiB" for k, v in sizes.items()})


def check(what, frame, expect):
    assert frame.nrow == len(expect), f"{what}: {frame.nrow} rows, {len(expect)} expected"
    for column in expect.columns:
        ours, theirs = frame[column].sum() if frame[column].isnumeric()[0] else None, expect[column]
        if ours is not None:
            assert abs(ours - theirs.sum()) <= 1e-9 * abs(theirs.sum()), f"{what}: sum of {column} is {ours}, {theirs.sum()} expected"


def run(what, memory, names, work, expect):
    server = Server(memory)
    baseline = server.peak
    try:
        began = time.perf_counter()
        frames = [h2o.import_file(path(n), destination_frame=n) for n in names]
        parsed = time.perf_counter() - began
        began = time.perf_counter()
        answer = work(*frames)
        rows = answer.nrow
        took = time.perf_counter() - began
        peak, disk = server.peak, server.disk()
        check(what, answer, expect)
        print(
            f"{what:34} {rows:>9} rows  budget {memory / 2**20:5.0f} MiB  parse {parsed:6.2f} s  work {took:6.2f} s  "
            f"peak {peak:5.0f} MiB (idle {baseline:.0f})  disk {disk:6.0f} MiB",
            flush=True,
        )
        return answer
    finally:
        server.stop()


g = pl.read_csv(path(G))
part = int(sizes[G] / args.times)
run("sort by id6, v3", part, [G], lambda f: f.sort(["id6", "v3"]), g)
c = pl.col
by = lambda f, keys: f.group_by(keys)  # noqa: E731
run(
    "group by id3: sum, mean, median",
    part,
    [G],
    lambda f: by(f, "id3").sum("v1").mean("v3").median("v2").get_frame(),
    g.group_by("id3").agg(c("v1").sum().alias("sum_v1"), c("v3").mean().alias("mean_v3"), c("v2").median().alias("median_v2")),
)
run(
    "group by all six: sum, count",
    part,
    [G],
    lambda f: by(f, [f"id{i}" for i in range(1, 7)]).sum("v3").count().get_frame(),
    g.group_by([f"id{i}" for i in range(1, 7)]).agg(c("v3").sum().alias("sum_v3"), pl.len().alias("nrow")),
)
del g
x, b = pl.read_csv(path(f"{J}_x")), pl.read_csv(path(f"{J}_big"))
part = int((sizes[f"{J}_x"] + sizes[f"{J}_big"]) / args.times)
run(
    "join big by id3",
    part,
    [f"{J}_x", f"{J}_big"],
    lambda x, b: x.merge(b[["id3", "v2"]], by_x=["id3"], by_y=["id3"]),
    x.join(b.select("id3", "v2"), on="id3"),
)
