"""Metrics of pairs of predictions and actual values: metrics.py URL [--make]

With --make the server is the reference, and what it answers is written to metrics.json. The pairs are made by a generator
that is written out here, so that every server sees the same numbers; the pair of 1,000,000 rows too.
"""
import json
import math
import os
import re
import sys
import tempfile

import h2o

HERE = os.path.dirname(os.path.abspath(__file__))
url = sys.argv[1]
failures = []


def draws(n, seed):
    """A linear congruential generator with the constants of Knuth's MMIX; numbers in [0, 1)."""
    x = seed
    for _ in range(n):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (x >> 11) / 2**53


def two(n, seed, ties=None, sharp=4.0, missing=0.0):
    """Probabilities of the second class, labels, weights; rounded to `ties` places."""
    u = list(draws(4 * n, seed))
    p, y, w = [], [], []
    for i in range(n):
        label = u[4 * i] < 0.4
        z = (1.0 if label else -1.0) + sharp * (u[4 * i + 1] - 0.5)
        q = 1 / (1 + math.exp(-z))
        p.append("" if u[4 * i + 3] < missing else repr(round(q, ties) if ties is not None else q))
        y.append("yes" if label else "no")
        w.append(repr(0.25 + 3 * u[4 * i + 2]))
    return dict(p=p, y=y, w=w)


def numbers(n, seed, positive=False, missing=0.0):
    u = list(draws(4 * n, seed))
    p, y, w = [], [], []
    for i in range(n):
        base = 10 * u[4 * i]
        noise = 4 * (u[4 * i + 1] - 0.5)
        a, b = (math.exp(base / 5), math.exp((base + noise) / 5)) if positive else (base - 5, base - 5 + noise)
        p.append("" if u[4 * i + 3] < missing else repr(a))
        # The reference reads actual values in single precision: these are the same there.
        y.append(repr(max(1, round(b * 256)) / 256 if positive else round(b * 256) / 256))
        w.append(repr(0.25 + 3 * u[4 * i + 2]))
    return dict(p=p, y=y, w=w)


def several(n, k, seed, missing=0.0):
    u = list(draws((k + 3) * n, seed))
    out = {f"c{j}": [] for j in range(k)}
    y, w = [], []
    for i in range(n):
        row = u[(k + 3) * i : (k + 3) * (i + 1)]
        label = int(row[k] * k)
        score = [math.exp(2 * row[j] + (1.2 if j == label else 0)) for j in range(k)]
        for j in range(k):
            out[f"c{j}"].append("" if row[k + 2] < missing and j == 0 else repr(score[j] / sum(score)))
        y.append(f"c{label}")
        w.append(repr(0.25 + 3 * row[k + 1]))
    return dict(out, y=y, w=w)


# name: (columns, columns of predictions, arguments of make_metrics)
PAIRS = {
    "two classes": (two(390, 1), ["p"], {}),
    "ties": (two(900, 2, ties=1), ["p"], {}),
    "many ties": (two(5000, 3, ties=2), ["p"], {}),
    "weights": (two(390, 4), ["p"], dict(weights=True)),
    "ties and weights": (two(900, 5, ties=1), ["p"], dict(weights=True)),
    "missing": (two(390, 6, missing=0.05), ["p"], {}),
    "more than 400 thresholds": (two(20000, 7, sharp=8.0), ["p"], {}),
    "perfect": (two(500, 8, sharp=0.5), ["p"], {}),
    "no skill": (dict(two(380, 9), p=[repr(v) for v in draws(380, 99)]), ["p"], {}),
    "one class": (dict(two(300, 10), y=["yes"] * 299 + ["no"]), ["p"], {}),
    "a million rows": (two(1_000_000, 11, sharp=6.0), ["p"], {}),
    "numbers": (numbers(900, 12), ["p"], {}),
    "numbers with weights": (numbers(900, 13), ["p"], dict(weights=True)),
    "numbers with missing ones": (numbers(900, 14, missing=0.05), ["p"], {}),
    "poisson": (dict(numbers(600, 15, positive=True)), ["p"], dict(distribution="poisson")),
    "gamma": (numbers(600, 16, positive=True), ["p"], dict(distribution="gamma")),
    "laplace": (numbers(600, 17), ["p"], dict(distribution="laplace")),
    "named domain": (two(390, 18), ["p"], dict(domain=["no", "yes"])),
    "three classes": (several(390, 3, 19), ["c0", "c1", "c2"], dict(domain=["c0", "c1", "c2"])),
    "twelve classes": (several(3000, 12, 20), [f"c{j}" for j in range(12)], dict(domain=[f"c{j}" for j in range(12)])),
    "three classes, weights": (several(390, 3, 21), ["c0", "c1", "c2"], dict(domain=["c0", "c1", "c2"], weights=True)),
    "three classes, areas": (several(900, 3, 22), ["c0", "c1", "c2"], dict(domain=["c0", "c1", "c2"], auc_type="WEIGHTED_OVR")),
    "three classes, exact ones": (several(390, 3, 23), ["c0", "c1", "c2"], dict(domain=["c0", "c1", "c2"], auc_type="MACRO_OVO")),
}
# Not a property of the predictions.
SKIP = {"model", "model_checksum", "frame", "frame_checksum", "scoring_time", "description", "__meta", "custom_metric_name",
        "custom_metric_value", "model_category", "predictions"}
# Where ours departs: (of which pairs, what, why); `why` is text, or the tolerance that holds.
DEPARTS = [
    ("", "hit_ratio_table.*hit_ratio", 1e-6),  # added up in single precision there
    ("weights", "cm.table.*Error", 1e-7),  # divided in single precision there
    ("weights", "gains_lift_table", "weighted quantiles of the reference stand at whole ranks, and its first group is empty"),
    ("classes, weights", "cm|hit_ratio|mean_per_class", "the reference counts rows there, whatever they weigh"),
    # More than 400 different predictions: the bins of the reference depend on how its rows are dealt to tasks.
    ("400|million|areas", "AUC|pr_auc|Gini|auc", 1e-4),
    ("400|million", "mean_per_class|cm.table|max_criteria|thresholds_and|gains_lift", "as above: thresholds are centres of bins"),
]


def leaves(value, path=""):
    """The numbers and texts of an answer, by path."""
    if isinstance(value, dict):
        for k, v in value.items():
            if k not in SKIP:
                yield from leaves(v, f"{path}.{k}")
    elif hasattr(value, "cell_values"):
        header = value.col_header
        for i, row in enumerate(value.cell_values):
            for name, cell in zip(header, row):
                yield f"{path}[{i}].{name}", cell
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from leaves(v, f"{path}[{i}]")
    else:
        yield path, value


def clean(v):
    if isinstance(v, float) and (math.isnan(v) or math.isinf(v)):
        return str(v)
    return v


def measure(name, work):
    columns, predicted, more = PAIRS[name]
    more = dict(more)
    path = os.path.join(work, "pair.csv")
    order = list(columns)
    with open(path, "w") as out:
        out.write(",".join(order) + "\n")
        for row in zip(*(columns[c] for c in order)):
            out.write(",".join(row) + "\n")
    types = ["enum" if c == "y" and (columns["y"][0] in ("yes", "no") or columns["y"][0].startswith("c")) else "real" for c in order]
    f = h2o.import_file(path, col_types=types)
    if more.pop("weights", False):
        more["weights"] = f["w"]
    m = h2o.make_metrics(f[predicted], f["y"], **more)
    out = {}
    for p, v in leaves(m._metric_json):
        # Every 16th point of a curve will do.
        if ".thresholds_and_metric_scores[" in p and int(p.split("[")[1].split("]")[0]) % 16:
            continue
        out[p] = clean(v)
    h2o.remove(f.frame_id)
    return out


def close(a, b, name, path):
    tolerance = 1e-9
    for pairs, what, why in DEPARTS:
        if re.search(pairs, name) and re.search(what, path):
            if isinstance(why, str):
                return True
            tolerance = why
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= tolerance * max(1.0, abs(b))
    if a in (None, "", "nan", "NaN") and b in (None, "", "nan", "NaN"):
        return True
    return a == b


def main():
    h2o.connect(url=url, verbose=False, strict_version_check=False)
    h2o.no_progress()
    make = "--make" in sys.argv
    golden = {} if make else json.load(open(os.path.join(HERE, "metrics.json")))
    checked = 0
    with tempfile.TemporaryDirectory() as work:
        for name in PAIRS:
            try:
                own = measure(name, work)
            except Exception as e:
                if not make:
                    failures.append(f"{name}: {str(e)[:300]}")
                else:
                    print(name, "not made:", str(e)[:300])
                continue
            if make:
                # What departs for a reason is not kept.
                golden[name] = {path: v for path, v in own.items() if not close(None, 0, name, path)}
                continue
            if name not in golden:
                failures.append(f"{name}: there is no golden")
                continue
            for path, wanted in golden[name].items():
                checked += 1
                if path not in own:
                    failures.append(f"{name}: {path} is missing")
                elif not close(own[path], wanted, name, path):
                    failures.append(f"{name}: {path} is {own[path]}, the reference says {wanted}")
    if make:
        json.dump(golden, open(os.path.join(HERE, "metrics.json"), "w"), separators=(",", ":"))
        print({k: len(v) for k, v in golden.items()})
        return
    if failures:
        print("\n".join(failures if "--all" in sys.argv else failures[:60]))
        sys.exit(f"{len(failures)} measures differ")
    print(f"metrics: {len(PAIRS)} pairs, {checked} figures equal those of the reference")


main()
