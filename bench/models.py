"""Training and scoring, timed on the same files in one run: ochre, the reference server, LightGBM, XGBoost, scikit-learn.

    python bench/models.py train.csv test.csv --response dep_delayed_15min [--runs 1] [--only ochre,reference,peers]

Needs `pip install h2o==3.46.0.11 lightgbm xgboost scikit-learn polars pandas` (the first brings client and reference
server) and Java. The response has the classes N and Y. Servers are driven by the official client. Prints medians and ratios;
only ratios within one run mean anything.
"""
import argparse
import json
import os
import statistics
import sys
import time
import warnings

from servers import ochre, reference, serving

warnings.filterwarnings("ignore")
import h2o  # noqa: E402
from h2o.estimators import (  # noqa: E402
    H2OGeneralizedLinearEstimator as Glm,
    H2OGradientBoostingEstimator as Gbm,
    H2OIsolationForestEstimator as Isolation,
    H2OKMeansEstimator as KMeans,
    H2ORandomForestEstimator as Drf,
)

parser = argparse.ArgumentParser()
parser.add_argument("train")
parser.add_argument("test")
parser.add_argument("--response", required=True)
parser.add_argument("--runs", type=int, default=1)
parser.add_argument("--only", default="ochre,reference,peers")
args = parser.parse_args()
args.train, args.test = os.path.abspath(args.train), os.path.abspath(args.test)


def median(f):
    """Median seconds of some runs, and what the last of them made."""
    seconds = []
    for _ in range(args.runs):
        began = time.time()
        out = f()
        seconds.append(time.time() - began)
    print(".", f"{seconds[-1]:.2f}", end=" ", file=sys.stderr, flush=True)
    return statistics.median(seconds), out


def drive(command):
    """The jobs on a server, through the client."""
    with serving(command):
        train, test = h2o.import_file(args.train), h2o.import_file(args.test)
        x = [c for c in train.columns if c != args.response]
        numbers = [c for c in x if train.types[c] in ("int", "real")]
        out = {}

        def model(name, make, columns, y=None):
            def one():
                m = make()
                m.train(columns, y, train)
                return m

            seconds, m = median(one)
            out[name] = {"seconds": seconds}
            if y:
                out[name]["auc"] = m.model_performance(test).auc()
            return m

        m = model("gbm", lambda: Gbm(ntrees=100, max_depth=10, learn_rate=0.1, seed=1, score_tree_interval=100), x, args.response)
        out["predict"] = {"seconds": median(lambda: m.predict(train).nrow)[0]}
        few = h2o.assign(train[0:1_000, :], "few")
        out["shap"] = {"seconds": median(lambda: m.predict_contributions(few).nrow)[0]}
        model("drf", lambda: Drf(ntrees=30, max_depth=15, seed=1, score_tree_interval=30), x, args.response)
        model("isolation", lambda: Isolation(ntrees=50, seed=1), x)
        model("glm", lambda: Glm(family="binomial", lambda_=1e-4, alpha=0.5, seed=1), x, args.response)
        model("kmeans", lambda: KMeans(k=10, max_iterations=20, seed=1), numbers)
        return out


def peers():
    """The same jobs with libraries."""
    import lightgbm
    import polars
    import xgboost
    from sklearn.cluster import KMeans as SkMeans
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score

    both = polars.concat([polars.read_csv(args.train), polars.read_csv(args.test)])
    n = len(polars.read_csv(args.train))
    y = (both[args.response] == "Y").to_numpy().astype(int)
    x = [c for c in both.columns if c != args.response]
    words = [c for c in x if both[c].dtype == polars.String]
    coded = both.select(x).with_columns([polars.col(c).cast(polars.Categorical).to_physical().cast(polars.Int32) for c in words]).to_pandas()
    train, test, y_train, y_test = coded[:n], coded[n:], y[:n], y[n:]
    out = {}

    def lgb(name, rounds, **p):
        p = dict(objective="binary", verbose=-1, num_threads=os.cpu_count(), seed=1, **p)
        seconds, m = median(lambda: lightgbm.train(p, lightgbm.Dataset(train, y_train, categorical_feature=words), rounds))
        out[name] = {"seconds": seconds, "auc": roc_auc_score(y_test, m.predict(test))}
        return m

    m = lgb("gbm lightgbm", 100, num_leaves=512, max_depth=10, learning_rate=0.1)
    out["predict lightgbm"] = {"seconds": median(lambda: m.predict(train))[0]}
    out["shap lightgbm"] = {"seconds": median(lambda: m.predict(train[:1_000], pred_contrib=True))[0]}
    lgb("drf lightgbm", 30, boosting="rf", bagging_freq=1, bagging_fraction=0.632, feature_fraction_bynode=0.35, num_leaves=8192, max_depth=15)
    kinds = train.copy()
    for c in words:
        kinds[c] = kinds[c].astype("category")
    p = dict(objective="binary:logistic", max_depth=10, eta=0.1, tree_method="hist", nthread=os.cpu_count(), seed=1)
    out["gbm xgboost"] = {"seconds": median(lambda: xgboost.train(p, xgboost.DMatrix(kinds, y_train, enable_categorical=True), 100))[0]}
    numbers = train[[c for c in x if c not in words]].to_numpy(dtype=float)
    out["isolation sklearn"] = {"seconds": median(lambda: IsolationForest(n_estimators=50, random_state=1, n_jobs=-1).fit(train))[0]}
    scaled = (numbers - numbers.mean(0)) / numbers.std(0)
    out["kmeans sklearn"] = {"seconds": median(lambda: SkMeans(10, max_iter=20, n_init=1, random_state=1).fit(scaled))[0]}
    return out


wanted = args.only.split(",")
result = {}
if "ochre" in wanted:
    result["ochre"] = drive(ochre("--log-level", "warn"))
if "reference" in wanted:
    result["reference"] = drive(reference("6g"))
if "peers" in wanted:
    result["peers"] = peers()
print(json.dumps(result, indent=1))
for job, own in result.get("ochre", {}).items():
    line = f"{job:10} ochre {own['seconds']:7.2f} s"
    theirs = result.get("reference", {}).get(job)
    if theirs:
        line += f"; reference {theirs['seconds']:7.2f} s = {theirs['seconds'] / own['seconds']:5.1f} x"
    for name, peer in result.get("peers", {}).items():
        if name.startswith(job + " "):
            line += f"; {name.split()[1]} {peer['seconds']:7.2f} s (ochre takes {own['seconds'] / peer['seconds']:.2f} of it)"
    print(line)
