"""What a cluster costs and gives, on this machine: bench/cluster.py OCHRE TABLE.csv [response [WORK ...]]

Nodes are pinned to one core each, in turn; the client runs on the others, where there are any. Ratios within one run count.
WORK: beginnings of what to time ("GBM", "group", "sort", "merge", "sum"); all of it, if none is given.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

os.environ["DO_NOT_TRACK"] = "1"
import h2o
from h2o.estimators import H2OGradientBoostingEstimator

ochre, table = sys.argv[1:3]
response = sys.argv[3] if len(sys.argv) > 3 else "dep_delayed_15min"
wanted = sys.argv[4:]
work = tempfile.mkdtemp()
cores = os.cpu_count()
if cores > 4:
    os.sched_setaffinity(0, range(4, cores))


def start(n, base):
    flat = os.path.join(work, f"flat-{base}")
    ports = [base + 2 * i for i in range(n)]
    open(flat, "w").write("".join(f"127.0.0.1:{p}\n" for p in ports))
    began = time.time()
    nodes = []
    for i, p in enumerate(ports):
        flags = ["--flatfile", flat] if n > 1 else []
        command = [ochre, "serve", "--port", str(p), "--nthreads", "1", "--ice-root", f"{work}/{p}", "--max-mem", "4g", *flags]
        nodes.append(subprocess.Popen(["taskset", "-c", str(i % cores), *command], stderr=open(f"{work}/{p}.log", "w")))
    for p in ports:
        while True:
            try:
                if b'"consensus":true' in urllib.request.urlopen(f"http://127.0.0.1:{p}/3/Cloud").read():
                    break
            except OSError:
                pass
            time.sleep(0.02)
    return nodes, f"http://127.0.0.1:{ports[0]}", time.time() - began


def stop(nodes):
    for p in nodes:
        p.kill()
        p.wait()


def median_ms(n, f):
    times = []
    for _ in range(n):
        t = time.perf_counter()
        f()
        times.append(time.perf_counter() - t)
    return 1e3 * statistics.median(times)


def figures(url):
    h2o.connect(url=url, verbose=False)
    h2o.no_progress()
    out = {}
    t = time.time()
    f = h2o.import_file(table, destination_frame="bench")
    out["import"] = time.time() - t
    x = [c for c in f.names if c != response]
    counts = f.group_by(x[2]).count().get_frame()
    for name, run in {
        "GBM 20 x depth 6": lambda: H2OGradientBoostingEstimator(ntrees=20, max_depth=6, seed=1, score_tree_interval=20).train(x, response, f),
        "group-by": lambda: f.group_by(x[0]).mean(x[-1]).count().get_frame().nrow,
        "sort": lambda: f.sort(x[-1]).nrow,
        "merge with counts": lambda: f.merge(counts, by_x=[x[2]], by_y=[x[2]]).nrow,
        "sum of a column": lambda: f[x[-1]].sum(),
    }.items():
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        times = []
        for _ in range(3):
            t = time.time()
            run()
            times.append(time.time() - t)
        out[name] = statistics.median(times)
    return out


results = {}
for n in (1, 2, 3):
    nodes, url, formed = start(n, 42000 + 100 * n)
    try:
        if n == 3:
            body = urllib.parse.urlencode({"ast": "(+ 1 2)"}).encode()
            print(f"three nodes formed in {formed:.2f} s")
            print(f"an empty command, carried out and voted on by three nodes: {median_ms(100, lambda: urllib.request.urlopen(url + '/99/Rapids', body).read()):.2f} ms")
            texts = [urllib.request.urlopen(url + "/3/NetworkTest").read().decode() for _ in range(11)]
            rounds = [[float(v) for v in re.search(r'"microseconds_collective":\[([^]]*)\]', t).group(1).split(",")] for t in texts]
            for i, size in enumerate((1, 1024, 1 << 20)):
                print(f"a pass's exchange of {size} bytes: {statistics.median(r[i] for r in rounds) / 1e3:.2f} ms")
        results[n] = figures(url)
    finally:
        stop(nodes)
print(f"{'':20} {'1 node':>9} {'2 nodes':>9} {'3 nodes':>9}   1 -> 2")
for name in results[1]:
    a, b, c = (results[n][name] for n in (1, 2, 3))
    print(f"{name:20} {a:8.2f}s {b:8.2f}s {c:8.2f}s   {a / b:5.2f} x")
