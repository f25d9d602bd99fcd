"""The values that parameters take which were left to the server, against the reference's: effective.py URL [--make]

With --make, URL is a reference server, and its answers become effective.json."""
import json
import os
import sys

import h2o
from h2o import estimators as e

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDENS = os.path.join(HERE, "effective.json")
# Names, frames and seeds differ from run to run.
OWN = {"model_id", "training_frame", "validation_frame", "response_column", "ignored_columns", "seed"}
# (model or *, parameter): why ochre says something else.
DEPARTS = {
    ("*", "max_iterations"): "with folds the reference tells how many iterations the folds took",
    ("glm search folds", "lambda"): "the path ends where the folds' did, and has another step",
    ("anova", "compute_p_values"): "they are computed",
    ("anova", "highest_interaction_term"): "0 stands for all",
    ("dt", "categorical_encoding"): "told by what it was taken for",
    ("selection", "nparallelism"): "threads of the machine",
    ("selection", "family"): "told as it was asked for",
    ("gam", "spline_orders"): "there are no splines with an order",
}


def cases():
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    two = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    two["CAPSULE"] = two["CAPSULE"].asfactor()
    iris = h2o.import_file(os.path.join(HERE, "data", "iris_wheader.csv"))
    x = ["PSA", "VOL", "GLEASON"]
    for how, more in (("", {}), (" folds", {"nfolds": 2, "seed": 1}), (" stopping", {"stopping_rounds": 2})):
        for name, builder in (("gbm", e.H2OGradientBoostingEstimator), ("drf", e.H2ORandomForestEstimator), ("xgboost", e.H2OXGBoostEstimator)):
            for y, frame, columns in (("AGE", f, x), ("CAPSULE", two, x), ("class", iris, iris.columns[:4])):
                yield f"{name} {y}{how}", builder(ntrees=2, **more), y, frame, columns
        for y, frame, columns in (("AGE", f, x), ("CAPSULE", two, x), ("class", iris, iris.columns[:4])):
            yield f"glm {y}{how}", e.H2OGeneralizedLinearEstimator(**more), y, frame, columns
        if not how.endswith("stopping"):
            yield f"glm search{how}", e.H2OGeneralizedLinearEstimator(lambda_search=True, **more), "AGE", f, x
            yield f"kmeans{how}", e.H2OKMeansEstimator(k=3, **more), None, f, x
            yield f"bayes{how}", e.H2ONaiveBayesEstimator(**more), "CAPSULE", two, x
    early = dict(ntrees=40, max_depth=3, seed=1, score_tree_interval=2, stopping_rounds=1, stopping_tolerance=0.1)
    yield "gbm early", e.H2OGradientBoostingEstimator(**early), "CAPSULE", two, x
    yield "drf early", e.H2ORandomForestEstimator(**early), "CAPSULE", two, x
    yield "xgboost early", e.H2OXGBoostEstimator(**early), "CAPSULE", two, x
    yield "glm ridge", e.H2OGeneralizedLinearEstimator(alpha=0, lambda_search=True), "AGE", f, x
    yield "glm bfgs", e.H2OGeneralizedLinearEstimator(solver="L_BFGS"), "CAPSULE", two, x
    yield "glm free", e.H2OGeneralizedLinearEstimator(lambda_=0, family="poisson"), "AGE", f, x
    yield "isolation", e.H2OIsolationForestEstimator(ntrees=5), None, f, x
    yield "isolation stopping", e.H2OIsolationForestEstimator(ntrees=5, stopping_rounds=2), None, f, x
    yield "gam", e.H2OGeneralizedAdditiveEstimator(gam_columns=["GLEASON"], num_knots=[3], scale=[0.1], bs=[0]), "AGE", f, x[:2]
    yield "isotonic", e.H2OIsotonicRegressionEstimator(), "AGE", f, ["PSA"]
    yield "rulefit", e.H2ORuleFitEstimator(seed=1, max_num_rules=5), "CAPSULE", two, x
    yield "anova", e.H2OANOVAGLMEstimator(), "AGE", f, x
    yield "selection", e.H2OModelSelectionEstimator(mode="maxr", max_predictor_number=2), "AGE", f, x
    yield "dt", e.H2ODecisionTreeEstimator(max_depth=3), "CAPSULE", two, x
    yield "adaboost", e.H2OAdaBoostEstimator(nlearners=3), "CAPSULE", two, x


def same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-9 * max(1, abs(a))
    return a == b


def main():
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    told = {}
    for name, builder, y, frame, x in cases():
        builder.train(x=x, y=y, training_frame=frame)
        model = h2o.api(f"GET /3/Models/{builder.model_id}")["models"][0]
        told[name] = {p["name"]: p["actual_value"] for p in model["parameters"] if p["name"] not in OWN}
    if "--make" in sys.argv:
        with open(GOLDENS, "w") as out:
            json.dump(told, out, indent=0, sort_keys=True)
        return
    with open(GOLDENS) as at:
        wanted = json.load(at)
    wrong = []
    for name, parameters in wanted.items():
        for p, value in parameters.items():
            known = ("*", p) in DEPARTS and "folds" in name or (name, p) in DEPARTS
            if not known and not same(value, told[name].get(p, "absent")):
                wrong.append(f"{name}: {p} is {told[name].get(p, 'absent')!r}, the reference says {value!r}")
    print(f"{sum(map(len, wanted.values()))} effective parameters of {len(wanted)} models, {len(wrong)} differ")
    for w in wrong:
        print("  " + w)
    sys.exit(bool(wrong))


main()
