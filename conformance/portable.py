"""Models outside of the server, in every form that they leave it: portable.py URL OCHRE [WHEEL's python]

Each model is exported as a MOJO and scored by the Python package and the C library of `bindings/`, as an ONNX graph and scored
by onnxruntime, as Java source and, where Java and the reference's scoring library are at hand (OCHRE_GENMODEL_JAR), compiled and
scored by that; `ochre score` writes Parquet and Arrow and reads them again. All are compared with the server's predictions.
"""
import csv
import ctypes
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h2o
import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from h2o.estimators import (
    H2OGeneralizedLinearEstimator as Glm,
    H2OGradientBoostingEstimator as Gbm,
    H2OIsolationForestEstimator as Isolation,
    H2OKMeansEstimator as KMeans,
    H2ONaiveBayesEstimator as Bayes,
    H2ORandomForestEstimator as Drf,
    H2OUpliftRandomForestEstimator as Uplift,
    H2OXGBoostEstimator as XgBoost,
)

import make_mojos
import ochre_score

url, ochre = sys.argv[1:3]
root = pathlib.Path(__file__).resolve().parent.parent
target = pathlib.Path(ochre).resolve().parent
work = pathlib.Path(tempfile.mkdtemp())
jar = os.environ.get("OCHRE_GENMODEL_JAR")
java = shutil.which("javac") if jar else None
worst = {}
ROWS = 1000  # that are scored


def ties(columns):
    """Rows of which several of three or more classes are most probable. One of these is drawn by the row's values, which neither a
    graph nor a sum that is rounded otherwise can follow."""
    p = [np.asarray(c, dtype=float) for c in columns if np.asarray(c).dtype.kind not in "OUS"]
    if len(p) < 3:
        return np.zeros(len(columns[0]), dtype=bool)
    top = np.sort(np.stack(p), axis=0)
    return top[-1] - top[-2] < 1e-6


def close(form, what, got, want, limit):
    """Columns of numbers or labels; labels may differ where the numbers say that it is a tie or at the threshold."""
    assert len(got) == len(want), f"{form}, {what}: {len(got)} columns instead of {len(want)}"
    for a, b in zip(got, want):
        a, b = np.asarray(a), np.asarray(b)
        assert len(a) == len(b), f"{form}, {what}: {len(a)} rows instead of {len(b)}"
        if b.dtype.kind in "OUS":
            other = np.flatnonzero((a.astype(str) != b.astype(str)) & ~(ties(want) & (limit >= 1e-9)))
            assert len(other) <= (0 if limit < 1e-9 else 3), f"{form}, {what}: labels of rows {other[:5]} differ: {a[other[:5]]} {b[other[:5]]}"
            continue
        a, b = a.astype(float), b.astype(float)
        assert (np.isnan(a) == np.isnan(b)).all(), f"{form}, {what}: missing in other rows"
        d = np.nanmax(np.abs(a - b) / np.maximum(1, np.abs(b)), initial=0.0)
        assert d <= limit, f"{form}, {what}: {d}"
        worst[form] = max(worst.get(form, 0.0), d)


def table_of(path, frame):
    """The rows of a file, with the types that the frame has."""
    text = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    for c in text.columns:
        if frame.types[c] in ("int", "real"):
            text[c] = text[c].astype(float)
        elif frame.types[c] == "time":
            text[c] = text[c].astype(float)
    return text


def of_server(model, frame, by_label):
    out = model.predict(frame).as_data_frame(use_pandas=False)
    columns = [list(c) for c in zip(*(r or [""] for r in out[1:]))]
    number = lambda t: float(t) if t not in ("", None) else math.nan
    return [c if by_label and i == 0 else [number(t) for t in c] for i, c in enumerate(columns)]


def onnx(model, rows):
    path = work / "model.onnx"
    path.write_bytes(get(f"/3/Models/{model.model_id}/onnx"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {}
    for i in session.get_inputs():
        v = rows[i.name]
        feed[i.name] = (v.fillna("").astype(str).to_numpy(dtype=object) if i.type == "tensor(string)" else v.to_numpy(float)).reshape(-1, 1)
    out = session.run(None, feed)
    if session.get_outputs()[0].name == "label":
        return [out[0], *(column for table in out[1:] for column in table.T)]
    return [o.ravel() for o in out]


def get(path):
    import urllib.request
    with urllib.request.urlopen(url + path) as r:
        return r.read()


def pojo(model, data):
    """Compiled and scored by the reference's batch tool."""
    source = get(f"/3/Models.java/{model.model_id}").decode()
    name = next(l.split()[2] for l in source.splitlines() if l.startswith("public class"))
    place = work / name
    place.mkdir()
    (place / f"{name}.java").write_text(source)
    r = subprocess.run([java, "-J-Xmx1g", "-cp", jar, "-d", str(place), str(place / f"{name}.java")], capture_output=True, text=True)
    assert r.returncode == 0, f"{name}: {r.stderr[-2000:]}"
    out = place / "scored.csv"
    r = subprocess.run(["java", "-cp", f"{jar}:{place}", "hex.genmodel.tools.PredictCsv", "--header", "--decimal", "--pojo", name,
                        "--input", data, "--output", str(out)], capture_output=True, text=True)
    assert r.returncode == 0, f"{name}: {r.stdout[-2000:]}{r.stderr[-2000:]}"
    return [["nan" if v == "NA" else v for v in c] for c in zip(*list(csv.reader(open(out)))[1:])]


class C:
    """The C library."""

    def __init__(self):
        lib = ctypes.CDLL(str(target / "libochre_score_c.so"))
        lib.ochre_model_open.restype = ctypes.c_void_p
        lib.ochre_model_level_code.restype = ctypes.c_long
        lib.ochre_model_input_name.restype = ctypes.c_char_p
        lib.ochre_model_inputs.restype = lib.ochre_model_outputs.restype = lib.ochre_model_levels.restype = ctypes.c_size_t
        self.lib = lib

    def score(self, path, rows, offset):
        lib, error = self.lib, ctypes.c_char_p()
        model = lib.ochre_model_open(str(path).encode(), ctypes.byref(error))
        assert model, error.value
        model = ctypes.c_void_p(model)
        n, width = lib.ochre_model_inputs(model), lib.ochre_model_outputs(model)
        names = [lib.ochre_model_input_name(model, ctypes.c_size_t(i)).decode() for i in range(n)]
        out = []
        for r in range(len(rows)):
            x = (ctypes.c_double * n)()
            for i, name in enumerate(names):
                v = rows[name].iloc[r]
                if pd.isna(v):
                    x[i] = math.nan
                elif lib.ochre_model_levels(model, ctypes.c_size_t(i)):
                    text = f"{v:g}" if isinstance(v, float) else str(v)
                    code = lib.ochre_model_level_code(model, ctypes.c_size_t(i), text.encode())
                    x[i] = math.nan if code < 0 else code
                else:
                    x[i] = v
            y = (ctypes.c_double * width)()
            o = ctypes.c_double(0.0 if offset is None else rows[offset].iloc[r])
            assert lib.ochre_model_score_row(model, x, o, y, ctypes.byref(error)) == 0, error.value
            out.append(list(y))
        lib.ochre_model_free(model)
        return [list(c) for c in zip(*out)]


def files(path, rows, want, what):
    """`ochre score` between formats."""
    data = {"rows.parquet": lambda p, t: pq.write_table(t, p), "rows.arrow": lambda p, t: write_ipc(p, t)}
    table = pa.Table.from_pandas(rows, preserve_index=False)
    for (name, write), ending in zip(data.items(), ("arrow", "parquet")):
        source, out = work / name, work / f"scored.{ending}"
        write(source, table)
        r = subprocess.run([ochre, "score", str(path), str(source), "-o", str(out)], capture_output=True, text=True)
        assert r.returncode == 0, f"{what} on {name}: {r.stderr}"
        got = pq.read_table(out) if ending == "parquet" else pa.ipc.open_stream(out).read_all()
        close(f"ochre score ({name} to {ending})", what, [c.to_pandas().to_numpy() for c in got.columns], want, 1e-15)


def write_ipc(path, table):
    with pa.OSFile(str(path), "wb") as f, pa.ipc.new_file(f, table.schema) as w:
        w.write_table(table, max_chunksize=97)


def main():
    h2o.connect(url=url, verbose=False)
    h2o.no_progress()
    c, count, forms = C(), 0, {}
    sets = {
        "prostate.csv": (make_mojos.prostate, "CAPSULE", "PSA", "GLEASON"),
        "cars.csv": (make_mojos.cars, "economy_20mpg", "economy", None),
        "iris_wheader.csv": (make_mojos.iris, "class", "petal_wid", None),
        "AirlinesTrain.csv.zip": (make_mojos.air, "IsDepDelayed", "Distance", None),
        "created": (None, "response", "C1", None),
    }
    small = dict(ntrees=10, max_depth=6, seed=1)
    for file, (x, label, number, offset) in sets.items():
        if file == "created":
            f = h2o.create_frame(rows=2000, cols=12, seed=7, categorical_fraction=0.4, factors=300, missing_fraction=0.05,
                                 integer_fraction=0.3, binary_fraction=0, string_fraction=0, time_fraction=0,
                                 has_response=True, response_factors=3)
            x = [n for n in f.names if n != "response" and f.types[n] in ("real", "int", "enum")]
            number = next(n for n in x if f.types[n] == "real")
        else:
            f = make_mojos.frame(file)
        f[label] = f[label].asfactor()
        data = str(work / "rows.csv")
        t = f[:ROWS, :] if f.nrow > ROWS else f
        h2o.export_file(t, data, force=True)
        rows = table_of(data, f)
        two = f[label].nlevels()[0] == 2
        models = [
            (Gbm(**small), label), (Gbm(**small), number), (Gbm(distribution="laplace", **small), number),
            (Gbm(balance_classes=True, **small), label), (Drf(ntrees=8, seed=1), label), (Drf(ntrees=8, seed=1), number),
            (XgBoost(**small), label), (XgBoost(**small), number), (XgBoost(booster="gblinear", seed=1), number),
            (Glm(family="binomial" if two else "multinomial"), label), (Glm(), number), (Glm(missing_values_handling="Skip"), number),
            (KMeans(k=4, seed=1), None), (Isolation(ntrees=10, seed=1), None), (Bayes(), label),
            (Gbm(categorical_encoding="one_hot_explicit", **small), label), (Drf(ntrees=5, seed=1, categorical_encoding="binary"), number),
            (Gbm(categorical_encoding="enum_limited", **small), label), (Gbm(categorical_encoding="label_encoder", **small), number),
        ]
        if two:
            models += [(Gbm(calibrate_model=True, calibration_method=c, calibration_frame=f, **small), label) for c in ("PlattScaling", "IsotonicRegression")]
            models.append((Drf(ntrees=8, seed=1, binomial_double_trees=True), label))
        if offset:
            models += [(Gbm(distribution="poisson", offset_column=offset, **small), "AGE"), (Glm(family="tweedie", tweedie_variance_power=1.5, tweedie_link_power=0.5), "VOL"),
                       (Glm(family="gamma", link="inverse"), "AGE"), (Glm(offset_column=offset), "AGE"), (Glm(family="ordinal"), "GLEASON")]
            f["treated"] = (f["AGE"] > 65).ifelse("yes", "no").asfactor()
            models.append((Uplift(ntrees=5, max_depth=4, seed=1, treatment_column="treated"), "CAPSULE"))
        for m, y in models:
            off = m._parms.get("offset_column")
            used = [n for n in x if n not in (y, off)]
            g = f
            if y == "GLEASON":
                g = h2o.import_file(data, col_types={n: "enum" for n in rows.columns if n == y or f.types[n] == "enum"})
            m.train(x=used, y=y, training_frame=g)
            special = [str(v) for k, v in m._parms.items() if k in ("categorical_encoding", "calibration_method") and v]
            what = " ".join([m.algo, *special, f"of {y} on {file}"])
            category = m._model_json["output"]["model_category"]
            by_label = category in ("Binomial", "Multinomial", "Ordinal")
            want = of_server(m, t, by_label)
            if m.algo not in ("naivebayes",):
                path = m.download_mojo(str(work))
                scorer = ochre_score.load(path)
                assert scorer.category == category and scorer.offset == off, (what, scorer)
                got = scorer.predict(rows)
                assert isinstance(got, pd.DataFrame) and list(got.columns) == m.predict(t).names, (what, list(got.columns))
                close("Python package, pandas", what, [got[n].to_numpy() for n in got.columns], want, 1e-15)
                got = scorer.predict(pl.from_pandas(rows))
                assert isinstance(got, pl.DataFrame)
                close("Python package, polars", what, [got[n].to_numpy() for n in got.columns], want, 1e-15)
                if m.algo in ("gbm", "drf", "xgboost") and category in ("Binomial", "Regression") and m._parms.get("booster") != "gblinear" \
                        and not m._parms.get("binomial_double_trees") and not m._parms.get("categorical_encoding"):
                    own = m.predict_contributions(t).as_data_frame(use_pandas=False)
                    got = scorer.contributions(rows)
                    close("Python package, contributions", what, [got[n] for n in got.columns],
                          [[float(v) for v in col] for col in zip(*own[1:])], 1e-6)
                some = rows.head(100)
                plain = want[1:3] if m._parms.get("calibrate_model") else want[1 if by_label else 0:]
                close("C library", what, c.score(path, some, off), [w[:100] for w in plain], 1e-15)
                files(path, rows, want, what)
                forms["MOJO"] = forms.get("MOJO", 0) + 1
            single = m.algo == "xgboost"
            if m.algo not in ("kmeans", "naivebayes"):
                close("ONNX (single precision)" if single else "ONNX", what, onnx(m, rows), want, 5e-5 if single else 1e-9)
                forms["ONNX"] = forms.get("ONNX", 0) + 1
            if m.algo not in ("isolationforest", "upliftdrf") and not m._parms.get("calibrate_model"):
                assert m.have_pojo, what
                if java:
                    close("Java (single precision)" if single else "Java", what, pojo(m, data), want, 5e-5 if single else 1e-9)
                    forms["Java"] = forms.get("Java", 0) + 1
            count += 1
        h2o.remove_all()
    print(f"portable: {count} models, of which {forms}; largest differences "
          + ", ".join(f"{k} {v:.0e}" for k, v in sorted(worst.items())))


main()
