"""What only shows in the client's own calls, not in the expressions that it is known to send: client.py URL"""
import os
import sys

import tempfile

import h2o
from h2o.estimators import H2OGradientBoostingEstimator, H2OIsotonicRegressionEstimator, H2OXGBoostEstimator
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


h2o.connect(url=sys.argv[1], verbose=False)
h2o.no_progress()
checks = [imputed, sparse, calibrated, continued]
for check in checks:
    check()
    h2o.remove_all()
print(f"client: {len(checks)} calls do what they say")
