"""The main job, timed through the official client: the reference server and ochre in one run on the same file.

    python bench/main_job.py airline.csv --response dep_delayed_15min [--runs 5]

Needs `pip install h2o==3.46.0.11 polars` (the first brings client and reference server) and Java. Prints medians,
ratios and peak memory. Only ratios within one run mean anything.
"""
import argparse
import glob
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")
import h2o  # noqa: E402
from h2o.estimators import H2OGradientBoostingEstimator as GBM  # noqa: E402

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
parser = argparse.ArgumentParser()
parser.add_argument("csv")
parser.add_argument("--response", required=True)
parser.add_argument("--runs", type=int, default=5)
args = parser.parse_args()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def memory(pid, name):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return float("nan")


def start(command):
    """Starts a server and waits for its first answer."""
    port = free_port()
    began = time.time()
    p = subprocess.Popen([c.replace("PORT", str(port)) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/3/Cloud", timeout=5).read()
            return p, port, time.time() - began
        except OSError:
            if p.poll() is not None:
                sys.exit(f"{command[0]} ended at its start")
            time.sleep(0.002)


def timed(f):
    began = time.time()
    out = f()
    return time.time() - began, out


def drive(command):
    starts = []
    for _ in range(args.runs):
        p, port, seconds = start(command)
        starts.append(seconds)
        idle = memory(p.pid, "VmRSS")
        if len(starts) < args.runs:
            p.kill()
            p.wait()
    h2o.connect(url=f"http://127.0.0.1:{port}", verbose=False)
    h2o.no_progress()
    parses, fits, aucs = [], [], []
    for _ in range(args.runs):
        h2o.remove_all()
        seconds, frame = timed(lambda: h2o.import_file(args.csv))
        parses.append(seconds)
    for _ in range(args.runs):
        model = GBM(ntrees=50, max_depth=5, seed=1, score_tree_interval=50)
        seconds, _ = timed(lambda: model.train(y=args.response, training_frame=frame))
        fits.append(seconds)
        aucs.append(model.auc())
    peak = memory(p.pid, "VmHWM")
    p.kill()
    p.wait()
    return {"start": statistics.median(starts), "idle_mb": idle, "parse": statistics.median(parses), "gbm_50x5": statistics.median(fits), "auc": aucs[0], "peak_mb": peak}


def polars():
    import polars

    return statistics.median(timed(lambda: polars.read_csv(args.csv))[0] for _ in range(args.runs))


jar = glob.glob(os.path.join(os.path.dirname(h2o.__file__), "backend", "bin", "h2o.jar"))
if not jar:
    sys.exit("this Python has no reference server: pip install h2o==3.46.0.11")
ice = tempfile.mkdtemp()
ochre = drive([os.path.join(root, "target", "release", "ochre"), "serve", "--port", "PORT", "--ice-root", ice, "--log-level", "warn"])
reference = drive(["java", "-Xmx4g", "-jar", jar[0], "-ip", "127.0.0.1", "-port", "PORT", "-name", "bench", "-ice_root", ice])
result = {"ochre": ochre, "reference": reference, "polars_parse": polars()}
print(json.dumps(result, indent=1))
print(f"start: {ochre['start'] * 1000:.0f} ms, idle {ochre['idle_mb']:.0f} MB")
print(f"parse: {reference['parse'] / ochre['parse']:.1f} x faster than the reference; {ochre['parse'] / result['polars_parse']:.2f} x Polars' time")
print(f"GBM 50 x depth 5: {reference['gbm_50x5'] / ochre['gbm_50x5']:.1f} x faster than the reference")
print(f"peak memory: ochre {ochre['peak_mb']:.0f} MB, reference {reference['peak_mb']:.0f} MB")
