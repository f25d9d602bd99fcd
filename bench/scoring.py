"""Scoring a file and single rows with an exported model: `ochre score` against h2o-genmodel's own batch tool, on the same
model and rows in one run.

    python bench/scoring.py train.csv rows.csv --response dep_delayed_15min [--runs 3]

Needs `pip install h2o==3.46.0.11` (its jar holds the tool) and Java. Trains 100 trees of depth 10 by ochre and exports them.
The tool's own start (model and first row) is measured with an empty file and taken off; ochre's is not.
"""
import argparse
import glob
import os
import statistics
import subprocess
import tempfile
import time
import warnings

from servers import OCHRE, ochre, serving

warnings.filterwarnings("ignore")
import h2o  # noqa: E402
from h2o.estimators import H2OGradientBoostingEstimator as Gbm  # noqa: E402

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
parser = argparse.ArgumentParser()
parser.add_argument("train")
parser.add_argument("rows")
parser.add_argument("--response", required=True)
parser.add_argument("--runs", type=int, default=3)
args = parser.parse_args()
args.train, args.rows = os.path.abspath(args.train), os.path.abspath(args.rows)
work = tempfile.mkdtemp()

with serving(ochre()):
    frame = h2o.import_file(args.train)
    frame[args.response] = frame[args.response].asfactor()
    model = Gbm(ntrees=100, max_depth=10, seed=1)
    model.train(y=args.response, training_frame=frame)
    mojo = model.download_mojo(os.path.join(work, "model.zip"))


def median(command):
    seconds = []
    for _ in range(args.runs):
        begun = time.time()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.time() - begun)
    return statistics.median(seconds)


with open(args.rows) as f:
    header = f.readline()
    count = sum(1 for _ in f)
    f.seek(0)
    few = os.path.join(work, "few.csv")
    with open(few, "w") as g:
        g.write(f.readline() + f.readline())
jar = glob.glob(os.path.join(os.path.dirname(h2o.__file__), "backend", "bin", "h2o.jar"))[0]
out = os.path.join(work, "out.csv")
tool = lambda rows: ["java", "-Xmx4g", "-cp", jar, "hex.genmodel.tools.PredictCsv", "--mojo", mojo, "--input", rows, "--output", out, "--decimal"]
mine = median([OCHRE, "score", mojo, args.rows, "-o", out])
theirs, start = median(tool(args.rows)), median(tool(few))
single = subprocess.run(["cargo", "run", "-q", "--release", "--example", "single_rows", "--", mojo], cwd=root, check=True, stdout=subprocess.PIPE, text=True)
half, most, _ = single.stdout.split()
print(f"{count:,} rows, 100 trees of depth 10, {os.cpu_count()} cores, medians of {args.runs}")
print(f"ochre score           {mine:7.2f} s  {count / mine:12,.0f} rows/s")
print(f"genmodel PredictCsv   {theirs - start:7.2f} s  {count / (theirs - start):12,.0f} rows/s  (and {start:.2f} s to start)")
print(f"ratio {(theirs - start) / mine:.1f}")
print(f"a single row, ochre-score on one thread: {half} us at the median, {most} us at the 99th percentile")
