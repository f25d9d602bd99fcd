"""Cross-validation against one fit, on the same file in one run: the time of five folds of a GBM over that of one, and the
bits of the folds when they train one at a time, on one thread.

    python bench/folds.py train.csv --response dep_delayed_15min [--trees 50] [--runs 1] [--reference]

Needs `pip install h2o==3.46.0.11`; with --reference also Java. Five folds train on four fifths of the rows each, and
predict the last fifth: the work of four fits and one prediction of all rows.
"""
import argparse
import json
import os
import statistics
import time
import warnings

from servers import ochre, reference, serving

warnings.filterwarnings("ignore")
from h2o.estimators import H2OGradientBoostingEstimator as Gbm  # noqa: E402
import h2o  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("train")
parser.add_argument("--response", required=True)
parser.add_argument("--trees", type=int, default=50)
parser.add_argument("--runs", type=int, default=1)
parser.add_argument("--reference", action="store_true")
args = parser.parse_args()
path = os.path.abspath(args.train)


def peak(p):
    with open(f"/proc/{p.pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def measure(command):
    with serving(command) as p:
        f = h2o.import_file(path)
        f[args.response] = f[args.response].asfactor()
        frame = peak(p)

        def fit(**more):
            m = Gbm(ntrees=args.trees, max_depth=10, seed=1, score_tree_interval=args.trees, **more)
            began = time.time()
            m.train(y=args.response, training_frame=f)
            return time.time() - began, m

        ones = [fit()[0] for _ in range(args.runs)]
        one, after_one = statistics.median(ones), peak(p)
        five, many = [], None
        for _ in range(args.runs):
            seconds, many = fit(nfolds=5, fold_assignment="Modulo", keep_cross_validation_predictions=True)
            five.append(seconds)
        five, after_five = statistics.median(five), peak(p)
        return {
            "one fit": one, "five folds and the model": five, "folds over one fit": (five - one) / one,
            "told": [many.auc(xval=True), many.logloss(xval=True), *(c.logloss() for c in many.cross_validation_models())],
            "MiB with the frame": frame, "MiB after one fit": after_one, "MiB after five folds": after_five,
        }


out = {"ochre": measure(ochre()), "ochre, one thread": measure(ochre("--nthreads", "1"))}
if args.reference:
    out["reference"] = measure(reference())
print(json.dumps(out, indent=1))
print("same bits on one thread, one fold at a time:", out["ochre"]["told"] == out["ochre, one thread"]["told"])
