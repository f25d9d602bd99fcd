"""Metrics and distributions that users write, uploaded by the client: custom.py URL

Numbers without a source here are the reference's (3.46.0.11), which runs the same classes."""
import os
import sys
import tempfile

import h2o
from h2o.estimators import (
    H2OGeneralizedLinearEstimator,
    H2OGradientBoostingEstimator,
    H2OIsotonicRegressionEstimator,
    H2ORandomForestEstimator,
    H2OXGBoostEstimator,
)
from h2o.utils.distributions import CustomDistributionBernoulli, CustomDistributionGaussian, CustomDistributionMultinomial

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


class Mae:
    def map(self, pred, act, w, o, model):
        return [w * abs(act[0] - pred[0]), w]

    def reduce(self, l, r):
        return [l[0] + r[0], l[1] + r[1]]

    def metric(self, l):
        return l[0] / l[1]


LOGLOSS = """class Logloss:
    def map(self, pred, act, w, o, model):
        import math
        return [-w * math.log(max(pred[1 + int(act[0])], 1e-15)), w]
    def reduce(self, l, r):
        return [l[0] + r[0], l[1] + r[1]]
    def metric(self, l):
        return l[0] / l[1]"""


class Asymmetric(CustomDistributionGaussian):
    def gradient(self, y, f):
        error = y - f
        return 2.0 * error if error < 0 else 1.0 * error


COUNTS = """class Counts(object):
    def link(self):
        return "log"
    def init(self, w, o, y):
        import java.lang.Math as Math
        return [w * y, w * Math.exp(o)]
    def gradient(self, y, f):
        import java.lang.Math as Math
        return y - Math.exp(f)
    def gamma(self, w, y, z, f):
        return [w * y, w * (y - z)]"""


def near(a, b, tolerance=1e-6):
    assert abs(a - b) <= tolerance * max(1, abs(b)), f"{a} is not {b}"


def refused(builder, *texts, **train):
    try:
        builder.train(**train)
    except Exception as e:
        assert all(t in str(e) for t in texts), str(e)
        return
    raise AssertionError(f"not refused: {texts}")


def last(model, name):
    table = model._model_json["output"]["scoring_history"]
    return table.cell_values[-1][table.col_header.index(name)]


def metrics(f, two, iris):
    x = ["PSA", "VOL", "GLEASON"]
    mae = h2o.upload_custom_metric(Mae, func_name="mae", func_file="mae.py")
    assert mae == "python:mae=mae.MaeWrapper"
    for builder in (H2OGradientBoostingEstimator(ntrees=3, seed=1), H2ORandomForestEstimator(ntrees=3, seed=1),
                    H2OXGBoostEstimator(ntrees=3, seed=1), H2OGeneralizedLinearEstimator()):
        builder._parms["custom_metric_func"] = mae
        builder.train(x=x, y="AGE", training_frame=f, validation_frame=f)
        for m in (builder.model_performance(train=True), builder.model_performance(valid=True), builder.model_performance(f)):
            assert m.custom_metric_name() == "mae"
            near(m.custom_metric_value(), m.mae(), 1e-12)
        near(last(builder, "training_custom"), builder.mae(train=True), 1e-12)
        near(last(builder, "validation_custom"), builder.mae(valid=True), 1e-12)
    iso = H2OIsotonicRegressionEstimator(custom_metric_func=mae)
    iso.train(x=["PSA"], y="AGE", training_frame=f)
    near(iso.model_performance(train=True).custom_metric_value(), 5.2757861663442425, 1e-12)
    plain = H2OGradientBoostingEstimator(ntrees=3, seed=1)
    plain.train(x=x, y="AGE", training_frame=f)
    plain.predict(f, custom_metric_func=mae)
    kept = [m for m in h2o.api(f"GET /3/ModelMetrics/models/{plain.model_id}")["model_metrics"] if m["custom_metric_name"] == "mae"]
    assert len(kept) == 1, kept
    near(kept[0]["custom_metric_value"], kept[0]["mae"], 1e-12)
    logloss = h2o.upload_custom_metric(LOGLOSS, class_name="Logloss", func_name="ll", func_file="ll.py")
    for y, frame, columns in (("CAPSULE", two, x), ("class", iris, iris.columns[:4])):
        g = H2OGradientBoostingEstimator(ntrees=3, seed=1, nfolds=3, custom_metric_func=logloss)
        g.train(x=columns, y=y, training_frame=frame)
        near(g.model_performance(train=True).custom_metric_value(), g.logloss(), 1e-12)
        near(g.model_performance(xval=True).custom_metric_value(), g.logloss(xval=True), 1e-12)
        rows = [r[0] for r in g.cross_validation_metrics_summary().cell_values]
        assert "custom" in rows and "custom_increasing" in rows, rows
    trees = {}
    for metric in ("custom", "custom_increasing"):
        g = H2OGradientBoostingEstimator(ntrees=50, seed=1, custom_metric_func=mae, stopping_metric=metric, stopping_rounds=2,
                                         stopping_tolerance=0.01, score_tree_interval=1)
        g.train(x=["PSA", "VOL", "RACE"], y="AGE", training_frame=f)
        trees[metric] = g.model_performance(train=True).custom_metric_value()
    assert trees["custom"] < trees["custom_increasing"], trees
    refused(H2OGradientBoostingEstimator(custom_metric_func="python:none=a.B"), "nothing was uploaded under the key 'none'",
            x=x, y="AGE", training_frame=f)
    refused(H2OGradientBoostingEstimator(custom_metric_func="python:mae=mae.Other"), "mae.py has no class Other",
            x=x, y="AGE", training_frame=f)
    refused(H2OGradientBoostingEstimator(stopping_metric="custom", stopping_rounds=2), "needs a custom_metric_func",
            x=x, y="AGE", training_frame=f)
    reads = h2o.upload_custom_metric(LOGLOSS.replace("import math", "import os"), class_name="Logloss", func_name="reads", func_file="reads.py")
    refused(H2OGradientBoostingEstimator(ntrees=1, custom_metric_func=reads), "ImportError", "line 8 of reads.py",
            x=x, y="CAPSULE", training_frame=two)
    # Time that is over ends training, not what is measured last, nor later.
    short = H2OGradientBoostingEstimator(ntrees=100000, seed=1, max_runtime_secs=1, custom_metric_func=mae)
    short.train(x=x, y="AGE", training_frame=f)
    near(short.model_performance(train=True).custom_metric_value(), short.mae(), 1e-12)
    near(short.model_performance(f).custom_metric_value(), short.model_performance(f).mae(), 1e-12)
    greedy = h2o.upload_custom_metric(LOGLOSS.replace("import math", "all = [0] * 10 ** 11"), class_name="Logloss", func_name="greedy", func_file="greedy.py")
    refused(H2OGradientBoostingEstimator(ntrees=1, custom_metric_func=greedy), "more than 256 MiB of memory",
            x=x, y="CAPSULE", training_frame=two)


def distributions(f, two, iris):
    x = ["PSA", "VOL", "GLEASON"]

    def train(y, frame, columns, function=None, **more):
        if function:
            more.update(distribution="custom", custom_distribution_func=function)
        g = H2OGradientBoostingEstimator(ntrees=5, max_depth=3, seed=1, **more)
        g.train(x=columns, y=y, training_frame=frame)
        p = g.predict(frame)
        return [float(v) for v in p[p.columns[-1]].mean()][0], g

    for name, known, y, frame, columns in (
        ("gauss", CustomDistributionGaussian, "AGE", f, x),
        ("bern", CustomDistributionBernoulli, "CAPSULE", two, x),
        ("multi", CustomDistributionMultinomial, "class", iris, iris.columns[:4]),
    ):
        function = h2o.upload_custom_distribution(known, func_name=name, func_file=name + ".py")
        near(train(y, frame, columns, function)[0], train(y, frame, columns)[0], 1e-9)
    function = h2o.upload_custom_distribution(Asymmetric, func_name="asym", func_file="asym.py")
    near(train("AGE", f, x, function)[0], 65.061295509, 1e-9)
    counts = h2o.upload_custom_distribution(COUNTS, class_name="Counts", func_name="counts", func_file="counts.py")
    mean, model = train("VOL", f, ["PSA", "GLEASON"], counts)
    near(mean, 24.087628509, 1e-9)
    # What the user wrote is needed for training alone.
    with_out = h2o.import_mojo(model.download_mojo(tempfile.mkdtemp()))
    assert abs(with_out.predict(f)["predict"] - model.predict(f)["predict"]).max() < 1e-9
    refused(H2OGradientBoostingEstimator(distribution="custom"), "needs a custom_distribution_func", x=x, y="AGE", training_frame=f)


def main():
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    f = h2o.import_file(os.path.join(DATA, "prostate.csv"))
    two = h2o.import_file(os.path.join(DATA, "prostate.csv"))
    two["CAPSULE"] = two["CAPSULE"].asfactor()
    iris = h2o.import_file(os.path.join(DATA, "iris_wheader.csv"))
    metrics(f, two, iris)
    distributions(f, two, iris)
    print("custom metrics and distributions: all as they should be")


main()
