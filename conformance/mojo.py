"""Portable scoring: mojo.py URL OCHRE

1. MOJOs of the reference (data/mojos) are imported and score as the reference did, within 1e-8.
2. Models trained here are exported, imported again and score the same bits; `ochre score` gives the same numbers, and,
   where Java and the reference's scoring library are at hand (OCHRE_GENMODEL_JAR), so does that library, within 1e-8.
3. Damaged and hostile files are refused with a message, and the server lives.
"""
import io
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile

import h2o
from h2o.estimators import (
    H2OGeneralizedLinearEstimator as Glm,
    H2OGradientBoostingEstimator as Gbm,
    H2OExtendedIsolationForestEstimator as Extended,
    H2OGeneralizedAdditiveEstimator as Gam,
    H2OIsolationForestEstimator as Isolation,
    H2OKMeansEstimator as KMeans,
    H2ORandomForestEstimator as Drf,
    H2ORuleFitEstimator as RuleFit,
    H2OXGBoostEstimator as XgBoost,
)

import make_mojos

url, ochre = sys.argv[1], sys.argv[2]
work = pathlib.Path(tempfile.mkdtemp())
failures = []


def expect(what, ok, detail=""):
    if not ok:
        failures.append(f"{what}: {detail}")


def value(text):
    try:
        return float(text)
    except ValueError:
        return text


def distance(a, b):
    """Largest difference of two tables; infinite where labels or shapes differ."""
    if len(a) != len(b) or any(len(x) != len(y) for x, y in zip(a, b)):
        return math.inf
    worst = 0.0
    for x, y in zip(a, b):
        for p, q in zip(x, y):
            p, q = value(p), value(q)
            if isinstance(p, float) and isinstance(q, float):
                worst = max(worst, abs(p - q) / max(1.0, abs(q)))
            elif p != q:
                return math.inf
    return worst


def read_csv(path):
    import csv

    rows = list(csv.reader(open(path)))
    return [list(c) for c in zip(*rows[1:])]


REFUSED = {"gam_positive_beside": "M-splines", "gam_plate_standardized": "standardized predictors"}


def reference_models():
    wanted = json.load(open(make_mojos.OUT / "predictions.json"))
    frames, worst = {}, 0.0
    for name, (file, _, _, _) in make_mojos.CASES.items():
        if file not in frames:
            frames[file] = make_mojos.score_rows(make_mojos.frame(file))
        model = h2o.import_mojo(str(make_mojos.OUT / f"{name}.zip"))
        own = make_mojos.numbers(model.predict(frames[file]))
        # Linear boosting is scored in single precision there: a row at the threshold may get the other label.
        skip = 1 if name == "xgb_linear" else 0
        d = distance(own[skip:], wanted[name][skip:])
        # XGBoost is scored in single precision there.
        expect(f"{name} of the reference", d < (5e-6 if name.startswith("xgb") else 1e-8), d)
        worst = max(worst, 0.0 if name.startswith("xgb") else d)
        try:
            again = model.download_mojo(str(work))
        except h2o.exceptions.H2OResponseError as e:
            # What the Java library cannot score is not written.
            expect(f"{name} exported again", name in REFUSED and REFUSED[name] in str(e), e)
            continue
        expect(f"{name} exported again", name not in REFUSED, "it was not refused")
        d = distance(make_mojos.numbers(h2o.import_mojo(again).predict(frames[file])), own)
        expect(f"{name} exported again", d == 0, d)
    print(f"MOJOs of the reference: {len(wanted)} imported, largest difference {worst:.1e}")


def own_models():
    small = dict(ntrees=10, max_depth=6, seed=1)
    sets = {
        "prostate.csv": (make_mojos.prostate, "CAPSULE", "PSA"),
        "cars.csv": (make_mojos.cars, "economy_20mpg", "economy"),
        "iris_wheader.csv": (make_mojos.iris, "class", "petal_wid"),
        "AirlinesTrain.csv.zip": (make_mojos.air, "IsDepDelayed", "Distance"),
        "created": (None, "response", "C1"),
    }
    jar = os.environ.get("OCHRE_GENMODEL_JAR")
    java = shutil.which("java") if jar else None
    count, worst = 0, 0.0
    for file, (x, label, number) in sets.items():
        if file == "created":
            f = h2o.create_frame(rows=3000, cols=12, seed=7, categorical_fraction=0.4, factors=40, missing_fraction=0.05,
                                 integer_fraction=0.3, binary_fraction=0, string_fraction=0, time_fraction=0,
                                 has_response=True, response_factors=3)
            x = [c for c in f.names if c != "response" and f.types[c] in ("real", "int", "enum")]
            number = next(c for c in x if f.types[c] == "real")
        else:
            f = make_mojos.frame(file)
        f[label] = f[label].asfactor()
        data = str(work / "rows.csv")
        h2o.export_file(f, data, force=True)
        two = f[label].nlevels()[0] == 2
        models = [
            (Gbm(**small), label), (Gbm(**small), number), (Drf(ntrees=8, seed=1), label), (Drf(ntrees=8, seed=1), number),
            (Glm(family="binomial" if two else "multinomial"), label), (Glm(), number), (KMeans(k=4, seed=1), None),
            (KMeans(k=4, seed=1, standardize=False), None), (Isolation(ntrees=10, seed=1), None),
            (Extended(ntrees=10, seed=1, extension_level=1), None),
            (XgBoost(**small), label), (XgBoost(booster="dart", rate_drop=0.3, **small), number), (XgBoost(booster="gblinear"), label),
            (Gbm(categorical_encoding="one_hot_explicit", **small), label), (Drf(ntrees=5, seed=1, categorical_encoding="binary"), number),
            (Gbm(categorical_encoding="label_encoder", **small), number), (Isolation(ntrees=5, seed=1, categorical_encoding="binary"), None),
            (Gbm(categorical_encoding="enum_limited", **small), label),
            (Gbm(balance_classes=True, **small), label), (Drf(ntrees=8, seed=1, balance_classes=True), label),
        ]
        if two:
            models.append((Drf(ntrees=8, seed=1, binomial_double_trees=True), label))
        free = [c for c in x if f.types[c] in ("real", "int") and c != number and f[c].unique().nrow > 12][:3]
        if len(free) > 1:
            a, b = free[0], free[-1]
            models += [
                (Gam(family="binomial" if two else "multinomial", gam_columns=[a, b], bs=[0, 2], num_knots=[5, 4], spline_orders=[3, 3]), label),
                (Gam(gam_columns=[a, [a, b]], bs=[0, 1], num_knots=[5, 7]), number),
                (Gam(gam_columns=[b, a], bs=[2, 0], num_knots=[5, 4], spline_orders=[3, 3], standardize=True), number),
                (Gam(gam_columns=[a], bs=[3], num_knots=[5], spline_orders=[3]), number),
            ]
        models += [
            (RuleFit(max_num_rules=20, rule_generation_ntrees=5, seed=1), label), (RuleFit(model_type="rules", rule_generation_ntrees=5, seed=1), number),
            (RuleFit(min_rule_length=1, max_rule_length=3, algorithm="gbm", rule_generation_ntrees=4, seed=1), label),
            (RuleFit(model_type="linear", seed=1), number),
        ]
        for m, y in models:
            m.train(x=[c for c in x if c != y], y=y, training_frame=f)
            path = m.download_mojo(str(work))
            own = make_mojos.numbers(m.predict(f))
            back = h2o.import_mojo(path)
            what = f"{m.algo} of {y} on {file}"
            d = distance(make_mojos.numbers(back.predict(f)), own)
            expect(f"{what}, imported", d == 0, d)
            out = str(work / "scored.csv")
            r = subprocess.run([ochre, "score", path, data, "-o", out], capture_output=True, text=True)
            expect(f"{what}, ochre score", r.returncode == 0, r.stderr)
            if r.returncode == 0:
                d = distance(read_csv(out), own)
                expect(f"{what}, ochre score", d < 1e-12, d)
            r = subprocess.run([ochre, "score", path, "--verify"], capture_output=True, text=True)
            expect(f"{what}, --verify", r.returncode == 0, r.stderr)
            if java:
                tool = [java, "-cp", jar, "hex.genmodel.tools.PredictCsv", "--header", "--decimal"]
                r = subprocess.run(tool + ["--mojo", path, "--input", data, "--output", out], capture_output=True, text=True)
                expect(f"{what}, Java", r.returncode == 0, r.stdout[-300:])
                if r.returncode == 0:
                    scored = read_csv(out)
                    # Classes that are equally likely are told apart by a hash of the row there, by their order here.
                    # A row at the threshold may get the other label where single precision is at work.
                    boosted = m.algo == "xgboost"
                    if y and len(own) > (2 if boosted else 3):
                        scored, own = scored[1:], own[1:]
                    d = distance([[v or "NaN" for v in c] for c in scored], own)
                    # The Java scorer of XGBoost models adds up in single precision.
                    expect(f"{what}, Java", d < (1e-5 if boosted else 1e-8), d)
                    worst = max(worst, 0.0 if boosted else d)
            count += 1
    with_java = f"largest difference to the Java library {worst:.1e}" if java else "the Java library is not at hand"
    print(f"models trained here: {count} exported and imported with the same bits; {with_java}")


def hostile():
    good = (make_mojos.OUT / "gbm_bernoulli.zip").read_bytes()
    entries = {n: zipfile.ZipFile(io.BytesIO(good)).read(n) for n in zipfile.ZipFile(io.BytesIO(good)).namelist()}

    def packed(change):
        e = change(dict(entries))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
            for n, b in e.items():
                z.writestr(n, b)
        return out.getvalue()

    tree = "trees/t00_000.bin"
    rng = random.Random(4)
    noise = bytes(rng.randrange(256) for _ in range(400))
    ini = entries["model.ini"].decode()
    cases = {
        "not a zip": b"hello",
        "empty": b"",
        "cut short": good[: len(good) // 2],
        "points outside": packed(lambda e: {**e, "../../etc/passwd": b"x"}),
        "no model.ini": packed(lambda e: {k: v for k, v in e.items() if k != "model.ini"}),
        "tree cut short": packed(lambda e: {**e, tree: e[tree][:-3]}),
        "tree too long": packed(lambda e: {**e, tree: e[tree] + b"xx"}),
        "tree of noise": packed(lambda e: {**e, tree: noise}),
        "left subtree of another length": packed(lambda e: {**e, tree: e[tree][:8] + b"\xff" + e[tree][9:]}),
        "no such column": packed(lambda e: {**e, tree: e[tree][:1] + b"\x40\x00" + e[tree][3:]}),
        "a billion trees": packed(lambda e: {**e, "model.ini": ini.replace("n_trees = 6", "n_trees = 999999999").encode()}),
        "another kind": packed(lambda e: {**e, "model.ini": ini.replace("Gradient Boosting Machine", "Crystal Ball").encode()}),
        "fewer levels than promised": packed(lambda e: {**e, "domains/d000.txt": b"only\n"}),
        "newer version": packed(lambda e: {**e, "model.ini": ini.replace("mojo_version = 1.40", "mojo_version = 9.00").encode()}),
    }
    for name, content in cases.items():
        path = work / "bad.zip"
        path.write_bytes(content)
        try:
            h2o.import_mojo(str(path))
            failures.append(f"{name}: was imported")
        except Exception as e:
            told = str(e)
            expect(name, "bad.zip" in told and "panic" not in told, told[:300])
    # Whatever noise does, the command ends with a message.
    refused = 0
    for i in range(60):
        content = bytearray(good)
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path = work / f"noise{i}.zip"
        path.write_bytes(content)
        r = subprocess.run([ochre, "score", str(path), "--verify"], capture_output=True, text=True, timeout=60)
        expect(f"noise {i}", r.returncode in (0, 1) and "panicked" not in r.stderr, r.stderr[-300:])
        refused += r.returncode
    print(f"hostile files: {len(cases)} refused by name; {refused} of 60 noisy ones refused, no crash")


h2o.connect(url=url, verbose=False)
h2o.no_progress()
try:
    reference_models()
    own_models()
    hostile()
finally:
    h2o.remove_all()
    shutil.rmtree(work, ignore_errors=True)
if failures:
    print("\n".join(failures[:40]))
    sys.exit(f"{len(failures)} failures")
