"""Boosting by second-order trees against the xgboost package: boosting.py URL, or boosting.py --make

--make asks the package (xgboost-cpu 3.2, one thread) and writes boosting.json: predictions of all rows, and splits of the
first tree, of each case. The data are prostate.csv with holes in two columns.
"""
import csv
import json
import math
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDENS = os.path.join(HERE, "boosting.json")
X = ["AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"]
BIN, NUM = ("CAPSULE", "bernoulli", "binary:logistic"), ("LPSA", "gaussian", "reg:squarederror")
# name: (response, distribution, objective), ours, the package's where they go by another name
CASES = {
    "squared": (NUM, {}, {}),
    "logistic": (BIN, {}, {}),
    "softprob": (("DPROS", "multinomial", "multi:softprob"), {}, dict(num_class=4)),
    "poisson": (("GLEASON", "poisson", "count:poisson"), {}, dict(max_delta_step=0)),
    "gamma": (("AGE", "gamma", "reg:gamma"), {}, {}),
    "tweedie": (("VOL", "tweedie", "reg:tweedie"), dict(tweedie_power=1.3), dict(tweedie_variance_power=1.3)),
    "hist": (NUM, dict(tree_method="hist"), {}),
    "hist, few bins": (BIN, dict(tree_method="hist", max_bins=16), dict(max_bin=16)),
    "hist, gamma": (BIN, dict(tree_method="hist", gamma=0.7), {}),
    "best first": (NUM, dict(tree_method="hist", grow_policy="lossguide", max_leaves=9, max_depth=0), {}),
    "penalties": (BIN, dict(reg_alpha=0.5, reg_lambda=3.0, gamma=0.5), dict(alpha=0.5)),
    "bounded steps": (BIN, dict(min_rows=4, max_delta_step=0.5, scale_pos_weight=2.0), dict(min_child_weight=4)),
    "monotone": (NUM, dict(monotone_constraints={"PSA": 1, "AGE": -1}), {}),
    "monotone, hist": (NUM, dict(monotone_constraints={"PSA": 1, "VOL": -1}, tree_method="hist"), {}),
    "interactions": (NUM, dict(interaction_constraints=[["AGE", "PSA"], ["RACE", "DPROS", "DCAPS", "VOL"]]), {}),
    "some interactions": (BIN, dict(interaction_constraints=[["AGE", "PSA"], ["PSA", "VOL"]]), {}),
    "weights": (BIN, dict(weights_column="W"), {}),
    "weights, hist": (BIN, dict(weights_column="W", tree_method="hist", max_bins=20), dict(max_bin=20)),
    "offset": (NUM, dict(offset_column="W"), {}),
    "linear": (BIN, dict(booster="gblinear", reg_alpha=0.001, reg_lambda=0.01), dict(updater="coord_descent", feature_selector="cyclic")),
    "shallow": (BIN, dict(max_depth=1, learn_rate=1.0), dict(eta=1.0)),
}
ROUNDS = 8
OWN = {"max_bins", "min_rows", "weights_column", "offset_column", "tweedie_power", "learn_rate", "tree_method"}


def rows():
    table = list(csv.DictReader(open(os.path.join(HERE, "data", "prostate.csv"))))
    out = []
    for i, r in enumerate(table):
        v = {k: float(t) for k, t in r.items()}
        v["LPSA"] = round(math.log1p(v["PSA"]) + v["GLEASON"] / 5 + (i * 37 % 100) / 200, 6)
        v["W"] = 0.5 + (i * 7 % 9) / 4
        if i % 9 == 0:
            v["PSA"] = math.nan
        if i % 7 == 3:
            v["AGE" if i % 2 else "RACE"] = math.nan
        v["VOL"] = round(v["VOL"], 4)
        out.append(v)
    return out


def predictors(case):
    (y, _, _), own, _ = CASES[case]
    hole = {"gamma": "AGE"}.get(case)
    return [c for c in X if c not in (y, hole) and not (y == "LPSA" and c == "GLEASON")]


def make():
    import numpy as np
    import xgboost

    data, out = rows(), {}
    for name, ((y, _, objective), own, theirs) in CASES.items():
        x = predictors(name)
        label = np.array([r[y] for r in data])
        keep = ~np.isnan(label)
        if objective.startswith("multi"):
            label = label - 1
        matrix = np.array([[r[c] for c in x] for r in data])
        weight = np.array([r["W"] for r in data])
        d = xgboost.DMatrix(matrix[keep], label[keep], feature_names=x,
                            weight=weight[keep] if "weights_column" in own else None,
                            base_margin=weight[keep] if "offset_column" in own else None)
        p = dict(objective=objective, eta=0.3, max_depth=4, base_score=0.5, nthread=1, tree_method=own.get("tree_method", "exact"))
        p.update({k: v for k, v in own.items() if k not in OWN})
        if own.get("booster") == "gblinear":
            del p["tree_method"], p["max_depth"]
        p.update(theirs)
        m = xgboost.train(p, d, ROUNDS)
        every = xgboost.DMatrix(matrix, feature_names=x, base_margin=weight if "offset_column" in own else None)
        got = m.predict(every)
        out[name] = {"predictions": np.round(got.astype(float), 9).tolist(), "tree": None}
        if own.get("booster") != "gblinear":
            t = m.trees_to_dataframe()
            t = t[t.Tree == 0].set_index("ID")

            def walk(node):
                r = t.loc[node]
                return [] if r.Feature == "Leaf" else [[r.Feature, float(np.float32(r.Split))]] + walk(r.Yes) + walk(r.No)

            out[name]["tree"] = walk("0-0")
    json.dump(out, open(GOLDENS, "w"), separators=(",", ":"))
    print(f"{len(out)} cases written")


def check(url):
    import h2o
    from h2o.estimators import H2OXGBoostEstimator
    from h2o.tree import H2OTree

    h2o.connect(url=url, verbose=False)
    h2o.no_progress()
    path = os.path.join(tempfile.mkdtemp(), "rows.csv")
    data = rows()
    with open(path, "w") as f:
        w = csv.writer(f)
        w.writerow(data[0])
        w.writerows([["" if v != v else repr(int(v) if v.is_integer() else v) for v in r.values()] for r in data])
    wanted, bad, worst = json.load(open(GOLDENS)), [], 0.0
    for name, ((y, distribution, _), own, _) in CASES.items():
        f = h2o.upload_file(path, col_types={y: "enum"} if distribution in ("bernoulli", "multinomial") else None)
        m = H2OXGBoostEstimator(**{**dict(ntrees=ROUNDS, seed=1, max_depth=4, distribution=distribution), **own})
        m.train(x=predictors(name), y=y, training_frame=f)
        table = m.predict(f).as_data_frame(use_pandas=False, header=False)
        keep = slice(1, None) if distribution == "multinomial" else slice(-1, None)
        for row, (got, want) in enumerate(zip(table, wanted[name]["predictions"])):
            for g, w in zip(got[keep], want if isinstance(want, list) else [want]):
                d = abs(float(g) - w) / max(1.0, abs(w))
                worst = max(worst, d)
                if not d < 2e-6:
                    bad.append(f"{name}: row {row}: {g} instead of {w}")
        if wanted[name]["tree"] is not None:
            t = H2OTree(m, 0, "1" if distribution == "multinomial" else None)

            def walk(i):
                if t.left_children[i] < 0:
                    return []
                return [[t.features[i], t.thresholds[i]]] + walk(t.left_children[i]) + walk(t.right_children[i])

            got = walk(0)
            if [g[0] for g in got] != [w[0] for w in wanted[name]["tree"]]:
                bad.append(f"{name}: the first tree splits {[g[0] for g in got]}")
            elif any(abs(g[1] - w[1]) > 1e-6 * max(1.0, abs(w[1])) for g, w in zip(got, wanted[name]["tree"])):
                bad.append(f"{name}: other thresholds in the first tree")
    print("\n".join(bad[:int(os.environ.get("SHOW", 20))]))
    print(f"boosting: {len(CASES)} models against the xgboost package, {len(bad)} differences, largest {worst:.1e}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(make() if "--make" in sys.argv else check(sys.argv[1]))
