"""What only shows in the client's own calls, not in the expressions that it is known to send: client.py URL"""
import os
import sys

import tempfile

import h2o
from h2o.estimators import (
    H2OGeneralizedLinearEstimator,
    H2OGradientBoostingEstimator,
    H2OIsotonicRegressionEstimator,
    H2OKMeansEstimator,
    H2OModelSelectionEstimator,
    H2ORandomForestEstimator,
    H2OXGBoostEstimator,
)
from h2o.job import H2OJob

HERE = os.path.dirname(os.path.abspath(__file__))


def numbers(frame, i=0):
    return [float(r[0]) for r in h2o.as_list(frame[i], use_pandas=False, header=False)]


def imputed():
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    mean = f[f["PSA"] <= 20, "AGE"].mean()[0]
    f[f["PSA"] > 20, "AGE"] = None
    assert f["AGE"].isna().sum() > 0
    used = f.impute("AGE", method="mean")
    assert f["AGE"].isna().sum() == 0
    assert abs([v for v in used if v == v][0] - mean) < 1e-9, f"{used} for a mean of {mean}"


def sparse():
    """What the client does with a sparse matrix, which needs no SciPy here."""
    with tempfile.NamedTemporaryFile("w", suffix=".svmlight") as f:
        f.write("0 2:1.5\n0 1:2\n0 3:3.25\n")
        f.flush()
        raw = h2o.api("POST /3/PostFile", filename=f.name)["destination_frame"]
    H2OJob(h2o.api("POST /3/ParseSVMLight", data={"source_frames": [raw], "destination_frame": "sparse.hex"}), "Parse").poll()
    got = h2o.get_frame("sparse.hex")
    assert [numbers(got, i) for i in range(got.ncol)][-3:] == [[0, 2, 0], [1.5, 0, 0], [0, 0, 3.25]], got.names


def calibrated():
    """An isotonic regression of the answers, which are two classes, on a model's probability calibrates the model."""
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    f["CAPSULE"] = f["CAPSULE"].asfactor()
    m = H2OGradientBoostingEstimator(ntrees=5, seed=1)
    m.train(["AGE", "PSA", "VOL", "GLEASON"], "CAPSULE", f)
    pairs = f[["CAPSULE"]].cbind(m.predict(f)["p1"])
    curve = H2OIsotonicRegressionEstimator(out_of_bounds="clip")
    curve.train(training_frame=pairs, x="p1", y="CAPSULE")
    wanted = numbers(curve.predict(pairs))
    m.calibrate(curve)
    said = m.predict(f)
    assert said.names == ["predict", "p0", "p1", "cal_p0", "cal_p1"], said.names
    assert max(abs(a - b) for a, b in zip(numbers(said, 4), wanted)) < 1e-12


def continued():
    """Predictors may lie in another order in the model than in the frame."""
    f = h2o.import_file(os.path.join(HERE, "data", "cars.csv"))
    f["thrifty"] = (f["economy"] > 20).asfactor()
    x = ["displacement", "power", "weight", "year", "thrifty"]
    first = H2OXGBoostEstimator(ntrees=4, seed=1)
    first.train(x, "acceleration", f)
    more = H2OXGBoostEstimator(ntrees=8, seed=1, checkpoint=first.model_id)
    more.train(x, "acceleration", f)
    whole = H2OXGBoostEstimator(ntrees=8, seed=1)
    whole.train(x, "acceleration", f)
    assert abs(more.mse() - whole.mse()) < 1e-9, (more.mse(), whole.mse())


def prostate(*categorical):
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    for c in categorical:
        f[c] = f[c].asfactor()
    return f


def clusters():
    """The number of clusters, and bounds on their sizes; numbers of the reference, which finds the same ones."""
    f = prostate()
    m = H2OKMeansEstimator(k=10, estimate_k=True, max_iterations=20, seed=7)
    m.train(x=f.columns[1:], training_frame=f)
    assert m.size() == [221, 159] and abs(m.tot_withinss() - 2441.12082635) < 1e-4, (m.size(), m.tot_withinss())
    iris = h2o.import_file(os.path.join(HERE, "data", "iris_wheader.csv"))[:4]
    for fewest, total in (([50, 50, 50], 140.27444063), ([70, 30, 30], 223.96293979), ([30, 70, 30], 146.95455503)):
        m = H2OKMeansEstimator(k=3, user_points=iris[[0, 60, 120], :], cluster_size_constraints=fewest)
        m.train(training_frame=iris)
        assert all(n >= w for n, w in zip(m.size(), fewest)) and abs(m.tot_withinss() - total) < 1e-6, (m.size(), m.tot_withinss())


def while_training():
    """Every checkpoint that is written while training goes on to the same model."""
    f = prostate("CAPSULE")
    with tempfile.TemporaryDirectory() as at:
        m = H2OGradientBoostingEstimator(ntrees=7, seed=1, model_id="part", in_training_checkpoints_dir=at, in_training_checkpoints_tree_interval=3)
        m.train(y="CAPSULE", training_frame=f)
        assert sorted(os.listdir(at)) == ["part.ntrees_3", "part.ntrees_6"], os.listdir(at)
        for name in os.listdir(at):
            more = H2OGradientBoostingEstimator(ntrees=7, seed=1, checkpoint=h2o.load_model(os.path.join(at, name)))
            more.train(y="CAPSULE", training_frame=f)
            assert abs(more.predict(f)["p1"] - m.predict(f)["p1"]).max() == 0


def histograms():
    f = prostate("CAPSULE")
    found = set()
    for kind in ("UniformAdaptive", "Random", "QuantilesGlobal", "RoundRobin", "UniformRobust"):
        for builder in (H2OGradientBoostingEstimator, H2ORandomForestEstimator):
            m = builder(ntrees=10, max_depth=4, seed=1, histogram_type=kind)
            m.train(x=["AGE", "PSA", "VOL", "GLEASON"], y="CAPSULE", training_frame=f)
            assert m.auc(train=True) > 0.6
            found.add(round(m.model_performance(f).logloss(), 9))
    assert len(found) >= 8, found


def influence():
    """Numbers of the reference."""
    for y, family, wanted in (("AGE", "gaussian", [-8.11592971685308e-4, 0.005081537775821746, -9.249261060317979e-4]),
                              ("CAPSULE", "binomial", [-1.6626110773396936e-4, -0.0031253378962845897, -0.0011868151889528158])):
        f = prostate("RACE", *(["CAPSULE"] if y == "CAPSULE" else []))
        if y == "AGE":
            f[0:5, "PSA"] = None
        m = H2OGeneralizedLinearEstimator(family=family, lambda_=0, influence="dfbetas")
        m.train(x=["PSA", "RACE", "GLEASON"], y=y, training_frame=f)
        r = m.get_regression_influence_diagnostics()
        assert r.names[:3] == ["RACE", "PSA", "GLEASON"] and r.names[-2:] == ["DFBETA_Intercept", y], r.names
        got = numbers(r["DFBETA_RACE.1"])
        assert all(abs(got[i] - w) < 1e-8 for i, w in zip((0, 1, 100), wanted)), [got[i] for i in (0, 1, 100)]


def keys():
    listed = h2o.ls()
    # Without pandas the client answers a list.
    return {r[0] for r in listed} if isinstance(listed, list) else set(listed["key"])


def influences():
    """Of every subset's model; the frames go when the selection goes."""
    f = prostate()
    before = keys()
    m = H2OModelSelectionEstimator(mode="maxr", max_predictor_number=2, influence="dfbetas")
    m.train(x=["AGE", "PSA", "VOL"], y="GLEASON", training_frame=f)
    frames = m.get_regression_influence_diagnostics()
    assert [r.ncol for r in frames] == [4, 6], [r.names for r in frames]
    h2o.remove(m.model_id)
    left = keys() - before
    assert not left, left


def by_variable():
    f = prostate("RACE")
    m = H2OGradientBoostingEstimator(ntrees=3, seed=1)
    m.train(x=["PSA", "RACE", "GLEASON"], y="AGE", training_frame=f)
    table = m.predicted_vs_actual_by_variable(f, m.predict(f), "RACE")
    wanted = {"0": (66.39706582763934, 62.666666666666664), "1": (66.06516714752748, 66.16129032258064), "2": (65.76630012909956, 65.16666666666667)}
    assert table.col_header == ["RACE", "predict", "actual"]
    for level, p, y in table.cell_values:
        assert abs(float(p) - wanted[level][0]) < 1e-6 and abs(float(y) - wanted[level][1]) < 1e-9, (level, p, y)


h2o.connect(url=sys.argv[1], verbose=False)
h2o.no_progress()
checks = [imputed, sparse, calibrated, continued, clusters, while_training, histograms, influence, influences, by_variable]
for check in checks:
    check()
    h2o.remove_all()
print(f"client: {len(checks)} calls do what they say")
