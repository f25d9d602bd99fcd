"""What only shows in the client's own calls, not in the expressions that it is known to send: client.py URL"""
import functools
import http.server
import json
import math
import os
import sys
import tempfile
import threading
import time
import warnings

import h2o
from h2o.assembly import H2OAssembly
from h2o.grid import H2OGridSearch
from h2o.transforms.preprocessing import H2OBinaryOp, H2OCol, H2OColOp, H2OColSelect
from h2o.estimators import (
    H2OGeneralizedLinearEstimator,
    H2OGradientBoostingEstimator,
    H2OHGLMEstimator,
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


def without_predictors():
    """The constant alone is the mean, here with a link of logarithms."""
    f = prostate()
    m = H2OGeneralizedLinearEstimator(family="gamma", link="log", build_null_model=True, nfolds=2, seed=1)
    m.train(x=["PSA", "VOL"], y="AGE", training_frame=f)
    assert list(m.coef()) == ["Intercept"] and abs(math.exp(m.coef()["Intercept"]) - f["AGE"].mean()[0]) < 1e-9, m.coef()
    assert abs(m.null_deviance() - m.residual_deviance()) < 1e-9 * m.null_deviance()
    assert m.predict(f).nrow == f.nrow


def noise():
    """Noise of leaves is there, is small when it shall be, and is drawn from the seed."""
    f = prostate()
    told = []
    for bandwidth in (0, 0.01, 0.5, 0.5):
        m = H2OGradientBoostingEstimator(ntrees=20, seed=1, pred_noise_bandwidth=bandwidth)
        m.train(x=["PSA", "VOL", "GLEASON"], y="AGE", training_frame=f)
        told.append(numbers(m.predict(f)))
    far = [max(abs(a - b) for a, b in zip(told[0], t)) for t in told]
    assert 0 < far[1] < 0.5 < far[2] and told[2] == told[3], far


def linear_classes():
    """balance_classes is taken, and told to change nothing."""
    f = prostate("CAPSULE")
    kept = []
    for balance in (False, True):
        m = H2OGeneralizedLinearEstimator(family="binomial", lambda_=0, balance_classes=balance)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            m.train(x=["AGE", "PSA", "VOL"], y="CAPSULE", training_frame=f)
        assert any("balance_classes changes nothing" in str(w.message) for w in said) == balance, said
        kept.append(m.coef())
    assert kept[0] == kept[1]


def done(job):
    h2o.job.H2OJob(job, "a tool").poll()


def tools():
    """Frame tools that have an address of their own; numbers are the reference's."""
    f = h2o.H2OFrame({"a": list(range(10)), "b": [1.5, 2, None, 4, 5, 6, 7, 8, 9, 10]}, column_types=["int", "real"])
    cut = h2o.api("POST /3/SplitFrame", data={"dataset": f.frame_id, "ratios": "[0.3, 0.3]", "destination_frames": '["sa", "sb", "sc"]'})
    for _ in range(200):
        if h2o.api(f"GET /3/Jobs/{cut['key']['name']}")["jobs"][0]["status"] == "DONE":
            break
        time.sleep(0.02)
    for key, rows in (("sa", ["0", "1", "2"]), ("sb", ["3", "4", "5"]), ("sc", ["6", "7", "8", "9"])):
        assert [r[0] for r in h2o.get_frame(key).as_data_frame(use_pandas=False)[1:]] == rows
    g = h2o.H2OFrame([[1, 2, 3, 4, 5, 6], [2, 1, 0, 1, 2, 5]])
    for inverse, source in (("false", g.frame_id), ("true", "there")):
        done(h2o.api("POST /99/DCTTransformer", data={"dataset": source, "dimensions": "[3, 2, 1]", "inverse": inverse,
                                                      "destination_frame": "there" if inverse == "false" else "back"}))
    there, back = ([float(v) for row in h2o.get_frame(k).as_data_frame(use_pandas=False)[1:] for v in row] for k in ("there", "back"))
    wanted = [8.573214099741124, -1.2247448713915892, -4.0, 0.0, 0.0, 0.0]
    assert all(abs(a - b) < 1e-12 for a, b in zip(there[:6], wanted)), there
    assert all(abs(a - b) < 1e-12 for a, b in zip(back, [1, 2, 3, 4, 5, 6, 2, 1, 0, 1, 2, 5])), back
    t = h2o.api("POST /99/Tabulate", data={"dataset": f.frame_id, "predictor": "a", "response": "b", "nbins_predictor": 3, "nbins_response": 2})
    assert t["count_table"].cell_values == [
        (x, y, float(n)) for y, row in (("missing(NA)", (1, 0, 0)), ("3.625000", (2, 2, 0)), ("7.875000", (0, 1, 4)))
        for x, n in zip(("1.500000", "4.500000", "7.500000"), row)], t["count_table"].cell_values
    assert t["response_table"].cell_values == [("1.500000", 1.75, 2.0), ("4.500000", 5.0, 3.0), ("7.500000", 8.5, 4.0)]
    found = h2o.api("GET /3/Find", data={"key": f.frame_id, "column": "a", "row": 3, "match": "5"})
    assert (found["prev"], found["next"]) == (-1, 5), found
    kept = "/3/NodePersistentStorage/notebook/a%2F..%2Fb"
    h2o.api("POST " + kept, data={"value": "text"})
    assert h2o.api("GET " + kept)["value"] == "text" and h2o.api("GET /3/NodePersistentStorage/notebook")["entries"][0]["name"] == "a/../b"
    h2o.api("DELETE " + kept)


def against_background():
    """Contributions against rows of a background: the reference's numbers, and they add up to the predictions."""
    f = prostate("CAPSULE")
    for c in ("RACE", "DPROS"):
        f[c] = f[c].asfactor()
    x, some, background = ["AGE", "RACE", "DPROS", "PSA", "VOL", "GLEASON"], f[0:3, :], f[10:15, :]

    def row(frame, r):
        return [float(v) for v in frame.as_data_frame(use_pandas=False)[1 + r]]

    gbm = H2OGradientBoostingEstimator(ntrees=5, max_depth=3, seed=1)
    gbm.train(x=x, y="CAPSULE", training_frame=f)
    told = gbm.predict_contributions(some, background_frame=background)
    assert told.names[1:5] == ["RACE.0", "RACE.1", "RACE.2", "RACE.missing(NA)"], told.names
    told = gbm.predict_contributions(some, background_frame=background, output_format="compact")
    wanted = [0.02000217977911234, 0, -0.06030679593483608, -0.12915664973358312, 0, -0.40551571805650993, -0.09730567410588264]
    assert all(abs(a - b) < 1e-7 for a, b in zip(row(told, 0), wanted)), row(told, 0)
    told = gbm.predict_contributions(some, background_frame=background, output_space=True)
    assert all(abs(sum(row(told, r)) - float(p)) < 1e-9 for r, p in enumerate(numbers(gbm.predict(some), 2))), told
    glm = H2OGeneralizedLinearEstimator(family="binomial", lambda_=0)
    glm.train(x=x, y="CAPSULE", training_frame=f)
    told = glm.predict_contributions(some, background_frame=background, output_per_reference=True)
    assert told.names == ["DPROS.2", "DPROS.3", "DPROS.4", "RACE.1", "RACE.2", "AGE", "PSA", "VOL", "GLEASON", "BiasTerm", "RowIdx",
                          "BackgroundRowIdx"] and told.nrow == 15, told.names
    wanted = [-0.743795106846123, 1.563477773198666, 0, 0, 0, 0, -0.460243029539716, 0, 0, 0.37014283933901626, 1, 1]
    assert all(abs(a - b) < 1e-6 for a, b in zip(row(told, 6), wanted)), row(told, 6)


def reweighed():
    """Trees weighed by other rows explain otherwise: the reference's numbers."""
    f = prostate()
    f["w"] = f["AGE"] / 65
    m = H2OGradientBoostingEstimator(ntrees=3, max_depth=3, seed=1)
    m.train(x=["AGE", "PSA", "GLEASON"], y="VOL", training_frame=f)
    m._update_tree_weights(f, "w")
    told = [float(v) for v in m.predict_contributions(f[0, :]).as_data_frame(use_pandas=False)[1]]
    wanted = [-0.5838574767112732, -0.8830967545509338, -0.22657668590545654, 15.865117073059082]
    assert all(abs(a - b) < 1e-5 for a, b in zip(told, wanted)), told


def leaderboard():
    """Models side by side, in the order and with the columns of the reference."""
    train, test = prostate("CAPSULE").split_frame([0.8], seed=1)
    models = []
    for m in (H2ORandomForestEstimator(ntrees=5, seed=1), H2OGradientBoostingEstimator(ntrees=5, seed=1)):
        m.train(x=["AGE", "PSA", "VOL", "GLEASON"], y="CAPSULE", training_frame=train, validation_frame=test)
        models.append(m)
    board = h2o.make_leaderboard(models, test, extra_columns="ALL")
    assert board.names == ["model_id", "auc", "logloss", "aucpr", "mean_per_class_error", "rmse", "mse", "training_time_ms",
                           "predict_time_per_row_ms", "algo"], board.names
    rows = board.as_data_frame(use_pandas=False)[1:]
    assert [r[0] for r in rows] == [models[1].model_id, models[0].model_id] and [r[-1] for r in rows] == ["GBM", "DRF"], rows
    assert abs(float(rows[0][1]) - 0.6935369318181818) < 1e-9 and abs(float(rows[0][2]) - 0.6263877493034677) < 1e-7, rows
    assert abs(float(rows[0][3]) - 0.5700339664534356) < 1e-7 and abs(float(rows[0][4]) - 0.3380681818181818) < 1e-9, rows
    assert h2o.make_leaderboard(models, sort_metric="mse", scoring_data="train").names[1] == "mse"
    # On the frame of training: what folds measured, not what the model knows by heart.
    folded = H2OGradientBoostingEstimator(ntrees=5, seed=1, nfolds=2, fold_assignment="Modulo")
    folded.train(x=["AGE", "PSA", "VOL", "GLEASON"], y="CAPSULE", training_frame=train)
    shown = h2o.make_leaderboard([folded, models[1]], train).as_data_frame(use_pandas=False)[1:]
    aucs = {r[0]: float(r[1]) for r in shown}
    assert abs(aucs[folded.model_id] - folded.auc(xval=True)) < 1e-12 and abs(aucs[models[1].model_id] - models[1].auc(train=True)) < 1e-12, aucs


def sources():
    """The Java source of a model is saved under the name of its class."""
    m = H2OGradientBoostingEstimator(ntrees=2, seed=1, model_id="a-b.c")
    m.train(x=["AGE", "PSA"], y="VOL", training_frame=prostate())
    with tempfile.TemporaryDirectory() as at:
        path = m.download_pojo(at)
        assert os.path.basename(path) == "a_b_c.java" and "public class a_b_c extends GenModel" in open(path).read(), path


def recovered():
    """A search whose server may end goes on from its directory; frames come along where that is asked for."""
    with tempfile.TemporaryDirectory() as at:
        f = prostate("CAPSULE")
        grid = H2OGridSearch(H2OGradientBoostingEstimator(ntrees=3, seed=1), {"max_depth": [2, 3]}, grid_id="searched")
        grid.train(x=["AGE", "PSA"], y="CAPSULE", training_frame=f)
        wanted = {m.actual_params["max_depth"]: m.auc() for m in grid.models}
        path = h2o.save_grid(at, "searched", save_params_references=True)
        h2o.remove_all()
        again = h2o.load_grid(path, load_params_references=True)
        assert len(again.model_ids) == 2 and h2o.get_frame(f.frame_id).nrow == f.nrow
        # What a server that ended after one of three models leaves behind.
        half = json.load(open(path))
        half["hyper"] = [["max_depth", [2, 3, 4]]]
        os.remove(os.path.join(at, half["models"].pop()["model"]))
        json.dump(half, open(path, "w"))
        json.dump({"grid": "searched", "algorithm": "gbm"}, open(os.path.join(at, "recovery.json"), "w"))
        h2o.remove_all()
        h2o.resume(at)
        for _ in range(200):
            done = h2o.get_grid("searched")
            if len(done.model_ids) == 3 and not os.path.exists(os.path.join(at, "recovery.json")):
                break
            time.sleep(0.05)
        got = {m.actual_params["max_depth"]: m.auc() for m in done.models}
        assert set(got) == {2, 3, 4} and all(got[d] == a for d, a in wanted.items()), (got, wanted)
        assert os.listdir(at) == [], os.listdir(at)


def assembled():
    """Steps that prepare a frame, as the reference takes them."""
    f = h2o.H2OFrame({"x": [5.1, 4.9, 7.0], "n": [1, 2, 3], "c": ["setosa", "versi", "setosa"]}, column_types=["real", "int", "enum"])
    steps = [("some", H2OColSelect(["x", "c"])), ("cos", H2OColOp(op=h2o.H2OFrame.cos, col="x", inplace=True)),
             ("count", H2OColOp(op=h2o.H2OFrame.countmatches, col="c", inplace=False, pattern="s")),
             ("plus", H2OBinaryOp(op=H2OAssembly.plus, col="x", inplace=False, right=H2OCol("x"), new_col_name="twice"))]
    out = H2OAssembly(steps=steps).fit(f)
    assert out.names == ["x", "c", "c0", "twice"], out.names
    assert numbers(out["c0"]) == [2, 1, 2] and abs(out[0, "twice"] - 2 * math.cos(5.1)) < 1e-15


h2o.connect(url=sys.argv[1], verbose=False)
h2o.no_progress()
def interactions():
    """Tables of the reference server for XGBoost; for GBM it takes what the root gains for 0."""
    f = prostate("CAPSULE", "RACE")
    x = H2OXGBoostEstimator(ntrees=3, max_depth=3, seed=1, tree_method="exact")
    x.train(["AGE", "RACE", "PSA", "GLEASON"], "CAPSULE", f)
    tables = x.feature_interaction(max_interaction_depth=2)
    assert [t._table_header for t in tables] == [
        *(f"Interaction Depth {i}" for i in range(3)),
        "Leaf Statistics",
        *(f"{n} Split Value Histogram" for n in ("GLEASON", "PSA", "AGE")),
    ]
    single = {row[1]: row[2:] for row in tables[0].cell_values}
    for name, expect in {
        "GLEASON": (140.14403772354126, 7, 4.991013350797612, 0.7130019072568017, 20.020576817648752, 130.95564142466532, 1, 2, 1, 1, 1, 1),
        "PSA": (35.728126525878906, 8, 2.5284175632005383, 0.3160521954000673, 4.466015815734863, 13.283410891745064, 2, 1, 2, 2, 2, 2),
    }.items():
        assert all(abs(a - b) < 1e-6 * b for a, b in zip(single[name], expect)), (name, single[name])
    deepest = {row[1]: row[2] for row in tables[2].cell_values}
    assert abs(deepest["GLEASON|GLEASON|PSA"] - 200.8292179107666) < 1e-4, deepest
    assert abs(tables[3].cell_values[0][2] + 0.35166049003601074) < 1e-6
    assert [list(r[1:]) for r in tables[4].cell_values] == [[5.5, 2], [6.5, 3], [7.5, 2]]
    g = H2OGradientBoostingEstimator(ntrees=3, max_depth=3, seed=1)
    g.train(["AGE", "RACE", "PSA", "GLEASON"], "CAPSULE", f)
    rows = {row[1]: row[2:] for row in g.feature_interaction(max_interaction_depth=2)[0].cell_values}
    assert abs(rows["PSA"][0] - 12.648265838623047) < 1e-5 and rows["GLEASON"][0] > 40, rows
    shallow = g.feature_interaction(max_interaction_depth=0, max_tree_depth=1, max_deepening=0)
    assert [r[1] for r in shallow[0].cell_values] == ["GLEASON"], shallow[0].cell_values


def fairness():
    """The reference's numbers, but for its logarithmic loss, which counts whole units only."""
    f = prostate("CAPSULE", "RACE", "DCAPS")
    m = H2OGeneralizedLinearEstimator(family="binomial", lambda_=0)
    m.train(["AGE", "RACE", "PSA", "GLEASON"], "CAPSULE", f)
    told = m.fairness_metrics(f, ["RACE", "DCAPS"], ["1", "1"], "1")
    assert len(told) == 7 and "thresholds_and_metrics_2,1" in told, list(told)
    overview = h2o.as_list(told["overview"], use_pandas=False)
    rows = {tuple(r[:2]): dict(zip(overview[0], r)) for r in overview[1:]}
    for group, expect in {
        ("2", "1"): {"tp": 10, "fn": 1, "auc": 0.842105, "aucpr": 0.749354, "AIR_selectedRatio": 1.080986, "p.value": 0.706072},
        ("0", "1"): {"tp": 1, "fn": 0, "auc": 1, "aucpr": 1, "AIR_selectedRatio": 2.161972, "p.value": 0.216366},
    }.items():
        assert all(abs(float(rows[group][k]) - v) < 1e-6 for k, v in expect.items()), rows[group]
    least = h2o.as_list(told["thresholds_and_metrics_2,2"], use_pandas=False)
    assert len(least) == 7 and abs(float(least[1][0]) - 0.785909) < 1e-6, least[:2]
    for protected, reference, favorable, why in (
        (["AGE"], None, "1", "categorical"),
        (["RACE"], ["9"], "1", "no level '9'"),
        (["RACE"], ["1"], "7", "none of 0, 1"),
    ):
        try:
            m.fairness_metrics(f, protected, reference, favorable)
            raise AssertionError(f"{protected} {reference} {favorable} should be refused")
        except h2o.exceptions.H2OResponseError as e:
            assert why in str(e), e


def evaluated():
    """The reference's values of metrics that the xgboost package names, in the scoring history."""
    f = prostate("CAPSULE")
    for y, metric, expect in (
        ("CAPSULE", "error@0.3", [0.57, 0.57, 0.44, 0.45333333, 0.34333333, 0.34333333]),
        ("VOL", "mae", [15.40196665, 14.5814566, 14.02381956, 13.6060563, 13.21182458, 12.93793059]),
    ):
        m = H2OXGBoostEstimator(ntrees=5, max_depth=3, seed=1, score_each_iteration=True, tree_method="exact", eval_metric=metric)
        m.train(["AGE", "PSA", "GLEASON"], y, f[:300, :])
        table = m._model_json["output"]["scoring_history"]
        got = [row[table.col_header.index("training_custom")] for row in table.cell_values]
        assert all(abs(a - b) < 1e-6 * b for a, b in zip(got, expect)), (metric, got)
    m = H2OXGBoostEstimator(ntrees=50, max_depth=3, seed=1, score_each_iteration=True, tree_method="exact", eval_metric="logloss",
                            score_eval_metric_only=True, stopping_metric="custom", stopping_rounds=1, stopping_tolerance=0.05)
    m.train(["AGE", "PSA", "GLEASON"], "CAPSULE", f[:300, :])
    table = m._model_json["output"]["scoring_history"]
    told = [dict(zip(table.col_header, row)) for row in table.cell_values]
    assert 2 < len(told) < 20 and abs(told[1]["training_custom"] - 0.6225776) < 1e-6, told
    assert all(math.isnan(e["training_auc"]) for e in told[:-1]) and abs(told[-1]["training_auc"] - m.auc()) < 1e-15, told
    try:
        H2OXGBoostEstimator(ntrees=1, eval_metric="mae").train(["AGE"], "CAPSULE", f)
        raise AssertionError("mae of two classes should be refused")
    except h2o.exceptions.H2OResponseError as e:
        assert "use one of rmse, logloss, error" in str(e), e


def fetched():
    """A file of a web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=os.path.join(HERE, "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{web.server_port}"
        f = h2o.import_file(f"{url}/prostate.csv")
        local = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
        assert f.dim == local.dim and numbers(f, 3) == numbers(local, 3) and f.frame_id.startswith("prostate"), f.frame_id
        try:
            h2o.import_file(f"{url}/nothing.csv")
            raise AssertionError("a file that is not there should be refused")
        except h2o.exceptions.H2OResponseError as e:
            assert "nothing.csv does not exist" in str(e), e
        web.shutdown()


def escapes():
    """A backslash takes the meaning of the character after it, inside and outside of quotes; so it did on the reference."""
    path = os.path.join(tempfile.mkdtemp(), "escaped.csv")
    with open(path, "w") as out:
        out.write('s,n\n"x\\"y",1\n"a\\\\b",2\nu\\,v,3\np\\q,4\n"end\\\\",5\n"com,ma\\"q",6\nabc\\"d,7\n')
    f = h2o.import_file(path, header=1, sep=",", col_types=["string", "numeric"], escapechar="\\")
    wanted = [["x\"y", "1"], ["a\\b", "2"], ["u", ""], ["pq", "4"], ["end\\", "5"], ["com,ma\"q", "6"], ["abc\"d", "7"]]
    assert f.as_data_frame(use_pandas=False, header=False) == wanted, f.as_data_frame(use_pandas=False)


def likely_shapes():
    """Shapes of families by maximum likelihood: theta and its standard errors as statsmodels' NegativeBinomial has them, and
    the variance power of a tweedie model, at which the likelihood is larger than beside it."""
    f = prostate()
    f["COUNT"] = (f["VOL"] / 2).floor()
    m = H2OGeneralizedLinearEstimator(family="negativebinomial", dispersion_parameter_method="ml", lambda_=0, compute_p_values=True, calc_like=True)
    m.train(x=["AGE", "PSA"], y="COUNT", training_frame=f)
    wanted = {"Intercept": (0.740487417983223, 0.9434486934078821), "AGE": (0.019337070162156838, 0.014214437017335897), "PSA": (0.0006385143655744235, 0.004630065281537036)}
    for row in m._model_json["output"]["coefficients_table"].cell_values:
        value, error = wanted[row[0]]
        assert abs(row[1] - value) < 2e-5 and abs(row[2] / error - 1) < 2e-2, row
    assert abs(m._model_json["output"]["dispersion"] - 3.1639227637037965) < 1e-4, m._model_json["output"]["dispersion"]
    assert abs(m.aic() - 2180.604496698887) < 1e-5, m.aic()
    f["COST"] = f["VOL"]
    like = {}
    for power in (None, 1.3, 1.7, 1.9):
        m = H2OGeneralizedLinearEstimator(family="tweedie", tweedie_variance_power=power or 1.5, fix_tweedie_variance_power=power is not None,
                                          tweedie_link_power=0, dispersion_parameter_method="ml", lambda_=0, calc_like=True)
        m.train(x=["AGE", "PSA"], y="COST", training_frame=f)
        like[m.actual_params["tweedie_variance_power"]] = m.loglikelihood()
    best = max(like, key=like.get)
    assert best not in (1.3, 1.7, 1.9) and 1 < best < 2, like


def expanded():
    """The Gram matrix of a frame's expanded columns, and these columns themselves: what the reference answered, and products."""
    f = prostate("CAPSULE", "RACE", "DCAPS")[["AGE", "RACE", "DCAPS", "PSA", "GLEASON"]]
    f[2, "AGE"] = None
    f[3, "RACE"] = None
    f = h2o.assign(f, "some")
    rows = lambda r, name: h2o.get_frame(r[name]["name"])
    gram = rows(h2o.api("GET /3/ComputeGram", data={"X": "some", "skip_missing": True}), "destination_frame")
    assert gram.names == ["RACE.1", "RACE.2", "DCAPS.2", "AGE", "PSA", "GLEASON", "Intercept"], gram.names
    got = [[float(v) for v in row] for row in gram.as_data_frame(use_pandas=False, header=False)]
    assert got[3] == [22491.0, 2270.0, 2653.0, 1662731.0, 382740.33999999985, 159351.0, 24949.0], got[3]
    assert all(abs(got[i][j] - got[j][i]) < 1e-9 for i in range(7) for j in range(i))
    made = rows(h2o.api("POST /3/DataInfoFrame", data={"frame": "some", "use_all": True, "interactions": ["AGE", "RACE"]}), "result")
    assert made.nrow == 378 and made.names[-2:] == ["AGE", "PSA"] and "AGE_RACE.1" in made.names, made.names
    assert numbers(made, made.names.index("AGE_RACE.1"))[:5] == [65, 72, 69, 71, 0]
    made = rows(h2o.api("POST /3/DataInfoFrame", data={"frame": "some", "standardize": True}), "result")
    assert abs(numbers(made, made.names.index("AGE"))[0] + 0.1575233535973769) < 1e-12, numbers(made)[0]
    # Values given for missing ones are those of a frame that has them.
    plugs, filled = h2o.H2OFrame([[50.0, 5.0]], column_names=["AGE", "PSA"]), h2o.deep_copy(f, "filled")
    filled[2, "AGE"] = 50.0
    f = h2o.get_frame("some")
    one = dict(random_columns=["AGE"], group_column="DCAPS", max_iterations=5)
    a = H2OHGLMEstimator(missing_values_handling="PlugValues", plug_values=plugs, **one)
    a.train(x=["AGE", "PSA"], y="GLEASON", training_frame=f)
    b = H2OHGLMEstimator(**one)
    b.train(x=["AGE", "PSA"], y="GLEASON", training_frame=filled)
    assert a._model_json["output"]["beta"] == b._model_json["output"]["beta"]
    # Metrics that were measured on a frame can be dropped.
    m = H2OGeneralizedLinearEstimator(model_id="measured")
    m.train(x=["PSA"], y="GLEASON", training_frame=f)
    m.model_performance(filled)
    import requests
    there = lambda verb: requests.request(verb, h2o.connection().base_url + f"/3/ModelMetrics/frames/{filled.frame_id}/models/measured").json()["model_metrics"]
    assert len(there("GET")) == 1 and not there("DELETE") and not there("GET")


checks = [imputed, sparse, calibrated, continued, clusters, while_training, histograms, influence, influences, by_variable, without_predictors,
          noise, linear_classes, tools, against_background, reweighed, leaderboard, sources, recovered, assembled, interactions, fairness, evaluated,
          fetched, escapes, likely_shapes, expanded]
for check in checks:
    check()
    h2o.remove_all()
print(f"client: {len(checks)} calls do what they say")
