"""Trees of single models, node by node, against those of the reference: trees.py URL [--make]

With --make the server is the reference, and what it answers is written to trees.json.
"""
import os
import sys

import h2o
from h2o.estimators import H2OGradientBoostingEstimator as Gbm
from h2o.estimators import H2OIsolationForestEstimator as Isolation
from h2o.estimators import H2ORandomForestEstimator as Forest
from h2o.tree import H2OTree
from goldens import HERE, compared

NUMBERS = ["AGE", "PSA", "VOL", "GLEASON"]
ALL = ["ID", "AGE", "RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON"]
# Name: builder, predictors, response, parameters.
CASES = {
    "drawn edges": (Gbm, NUMBERS, "CAPSULE", dict(histogram_type="Random")),
    "drawn edges of whole numbers": (Gbm, ["AGE", "GLEASON", "DPROS"], "PSA", dict(histogram_type="Random", nbins=5, nbins_top_level=8)),
    "quantiles": (Gbm, ["AGE", "GLEASON", "ID"], "CAPSULE", dict(histogram_type="QuantilesGlobal")),
    "quantiles of real numbers": (Gbm, ["PSA"], "AGE", dict(histogram_type="QuantilesGlobal", max_depth=3)),
    "few quantiles": (Gbm, ["ID", "AGE"], "PSA", dict(histogram_type="QuantilesGlobal", nbins=8, nbins_top_level=32)),
    "in turn": (Gbm, ["AGE", "RACE", "GLEASON", "ID"], "CAPSULE", dict(histogram_type="RoundRobin")),
    "annealing": (Gbm, NUMBERS, "CAPSULE", dict(learn_rate_annealing=0.8)),
    "annealing from far": (Gbm, NUMBERS, "AGE", dict(learn_rate=0.5, learn_rate_annealing=0.5)),
    "categories": (Gbm, ["RACE", "DPROS", "DCAPS", "YEARS"], "CAPSULE", dict(min_rows=3)),
    "categories that share bins": (Gbm, ["RACE", "YEARS"], "PSA", dict(min_rows=3, nbins_cats=8)),
    "quantiles of weights": (Gbm, ["PSA", "AGE"], "VOL", dict(histogram_type="QuantilesGlobal", weights_column="WEIGHT", nbins=5, max_depth=3)),
    "nothing to split": (Gbm, ["PSA"], "CAPSULE", dict(min_split_improvement=0.9, sample_rate=0.6)),
    "sampled medians": (Gbm, ["AGE", "GLEASON", "DPROS"], "PSA", dict(distribution="laplace", sample_rate=0.7)),
    "sampled quantiles": (Gbm, ["AGE", "GLEASON", "DPROS"], "PSA", dict(distribution="quantile", quantile_alpha=0.8, sample_rate=0.6)),
    "sampled huber": (Gbm, ["AGE", "GLEASON", "DPROS"], "PSA", dict(distribution="huber", sample_rate=0.7)),
    "sampled": (Gbm, ["AGE", "RACE", "GLEASON"], "CAPSULE", dict(sample_rate=0.7, col_sample_rate=0.7)),
    "columns by level": (Gbm, ALL, "CAPSULE", dict(col_sample_rate=0.4, col_sample_rate_change_per_level=1.5)),
    "fewer columns by level": (Gbm, ALL, "PSA", dict(max_depth=6, col_sample_rate_change_per_level=0.6)),
    "small offset of a class": (Gbm, NUMBERS, "CAPSULE", dict(offset_column="SHIFT", sample_rate=0.8)),
    "random edges, forest": (Forest, ALL, "CAPSULE", dict(histogram_type="Random", max_depth=10)),
    "random edges, regression": (Forest, ["RACE", "DPROS", "AGE"], "ID", dict(histogram_type="Random", sample_rate=1.0, mtries=-2)),
    "forest": (Forest, ["AGE", "GLEASON", "DPROS", "RACE"], "CAPSULE", dict()),
    "forest with more columns by level": (Forest, ALL, "CAPSULE", dict(mtries=2, col_sample_rate_change_per_level=1.4, max_depth=8)),
    "forest of decimals": (Forest, ["AGE", "PSA", "VOL"], "GLEASON", dict(mtries=2)),
    "forest of all": (Forest, ALL, "CAPSULE", dict()),
    "forest of real numbers": (Forest, ["PSA", "VOL"], "CAPSULE", dict(max_depth=8)),
    "isolation": (Isolation, ["PSA", "AGE", "GLEASON"], None, dict(sample_rate=1.0)),
    "isolation, all columns": (Isolation, ["PSA", "VOL", "AGE", "RACE"], None, dict(sample_rate=1.0, mtries=-2)),
    "isolation, drawn rows": (Isolation, ["PSA", "VOL"], None, dict(sample_size=100, mtries=2)),
    "isolation, shallow": (Isolation, ALL, None, dict(sample_rate=1.0, max_depth=3, mtries=3)),
    "isolation, one column": (Isolation, ["AGE"], None, dict(sample_rate=1.0, contamination=0.1)),
}


def shown(values):
    return ["none" if v is None else "NaN" if v != v else v for v in map(lambda v: float(v) if isinstance(v, (int, float)) else v, values)]


def run():
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    for c in ("RACE", "DCAPS", "CAPSULE"):
        f[c] = f[c].asfactor()
    f = f.cbind([f["AGE"].asfactor().set_names(["YEARS"]), ((f["ID"] % 5) / 4 - 0.5).set_names(["SHIFT"]), (f["ID"] % 3 + 1).set_names(["WEIGHT"])])
    for name, (builder, x, y, p) in CASES.items():
        m = builder(seed=1, ntrees=4, **p)
        m.train(x, y, f)
        got = {"trees": []}
        for k in range(4):
            t = H2OTree(m, k)
            got["trees"].append({
                "features": [v or "none" for v in t.features], "thresholds": shown(t.thresholds), "predictions": shown(t.predictions),
                "left": t.left_children, "right": t.right_children, "missing": [v or "none" for v in t.nas],
            })
        got["scores"] = [float(v) if v.replace(".", "").replace("-", "").replace("E", "").isdigit() else v
                         for row in h2o.as_list(m.predict(f), use_pandas=False, header=False)[:60] for v in row]
        if builder is Isolation:
            out = m._model_json["output"]
            # Where rows are drawn, the reference's ratios of the first split are those of all rows.
            got["splits"] = [row[:2] + row[3:] if "sample_size" in p else list(row) for row in map(list, out["variable_splits"].cell_values)]
            measured = out["training_metrics"]._metric_json
            # Where trees saw every row, the reference has nothing to measure.
            if "sample_size" in p:
                got["measured"] = [measured["mean_score"], measured["mean_normalized_score"], measured["nobs"]]
        yield name, got


def main():
    cases, bad = compared(run, "trees.json", lambda name: 1e-6)
    print(f"trees: {cases} models compared with the reference node by node, {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
