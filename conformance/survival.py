"""Proportional hazards against those of the reference: survival.py URL [--make]

With --make the server is the reference, and what it answers is written to survival.json.
"""
import math
import os
import shutil
import subprocess
import sys
import tempfile

import h2o
from h2o.estimators import H2OCoxProportionalHazardsEstimator as Cox
from goldens import HERE, compared

CASES = {
    "efron": (["age", "year", "surgery"], dict(start_column="start")),
    "breslow": (["age", "year", "surgery"], dict(start_column="start", ties="breslow")),
    "no start": (["age", "year"], dict()),
    "category": (["age", "transplant"], dict(start_column="start")),
    "strata": (["age", "year", "surgery"], dict(start_column="start", stratify_by=["surgery"])),
    "two strata": (["age", "year", "surgery", "transplant"], dict(stratify_by=["surgery", "transplant"])),
    "weights": (["age", "year"], dict(start_column="start", weights_column="id")),
    "offset": (["age"], dict(start_column="start", offset_column="year")),
    "missing": (["hole", "year"], dict(start_column="start")),
    "product": (["age", "year", "surgery", "transplant"], dict(start_column="start", interactions=["age", "year"])),
    "product by level": (["age", "year", "surgery", "transplant"], dict(start_column="start", interactions=["age", "transplant", "year"])),
    "pair of levels": (["age", "year", "surgery", "transplant"], dict(start_column="start", interactions=["surgery", "transplant"])),
    "pairs": (["age", "year", "surgery", "transplant"], dict(start_column="start", interaction_pairs=[("age", "year"), ("surgery", "age")])),
    "product alone": (["age", "year", "surgery"], dict(start_column="start", interactions_only=["year"], interaction_pairs=[("age", "year")])),
    "product by stratum": (["age", "year", "surgery", "transplant"],
                           dict(start_column="start", stratify_by=["surgery"], interactions=["age", "transplant"])),
    # Categories of as many levels stand as the reference exchanges them; a number without a term of its own meets all levels.
    "three categories": (["surgery", "transplant", "third", "age"], dict(start_column="start")),
    "pair of unlike levels": (["surgery", "transplant", "third", "age"], dict(start_column="start", interactions=["surgery", "third"])),
    "pairs of categories": (["surgery", "third", "transplant"],
                            dict(start_column="start", interaction_pairs=[("third", "transplant"), ("surgery", "transplant")])),
    "number alone": (["age", "third"], dict(start_column="start", interactions=["age", "third"], interactions_only=["age"])),
    "category alone": (["age", "third"], dict(start_column="start", interactions=["age", "third"], interactions_only=["third"])),
    "pair alone": (["surgery", "third", "age"], dict(start_column="start", interactions=["surgery", "third"], interactions_only=["third"])),
    "few steps": (["age", "year"], dict(start_column="start", max_iterations=2)),
}
FIELDS = ["null_loglik", "loglik", "loglik_test", "wald_test", "score_test", "rsq", "maxrsq", "n", "n_missing", "total_event",
          "var_coef", "formula", "concordance", "mean_offset", "offset_names"]
# Counts and hazards over time are compared where nothing is in the way: the reference leaves categories, offsets and late
# starts out of some of them.
OVER_TIME = ["time", "n_event", "n_censor", "cumhaz_0", "var_cumhaz_1"]


def number(v):
    return None if isinstance(v, float) and math.isnan(v) else v


def run():
    f = h2o.import_file(os.path.join(HERE, "data", "heart.csv"))
    for c in ("surgery", "transplant"):
        f[c] = f[c].asfactor()
    f["third"] = ((f["id"] % 5 == 0) * 2 + (f["id"] % 3 == 0) * (f["id"] % 5 != 0)).asfactor()
    f["hole"] = (f["id"] % 9 == 0).ifelse(float("nan"), f["age"])
    for name, (x, p) in CASES.items():
        m = Cox(stop_column="stop", **p)
        m.train(x=x, y="event", training_frame=f)
        out = m._model_json["output"]
        got = {k: out[k] for k in FIELDS + (OVER_TIME if name == "no start" else [])}
        got["coefficients"] = [list(r) for r in out["coefficients_table"]._cell_values]
        got["predictions"] = [float(v[0]) if v and v[0] else None for v in m.predict(f).as_data_frame(use_pandas=False, header=False)]
        if "--make" not in sys.argv and not any(k.startswith("interaction") for k in p):
            exported(name, m, f, got["predictions"])
        got["again"] = m.model_performance(f)._metric_json["concordance"]
        yield name, got
    if "--make" not in sys.argv:
        of_reference(f)


def exported(name, m, f, want):
    """The MOJO scores the same bits when it is imported again, and in the reference's library where that is at hand."""
    with tempfile.TemporaryDirectory() as at:
        path = m.download_mojo(at)
        told = h2o.import_mojo(path).predict(f).as_data_frame(use_pandas=False, header=False)
        got = [float(v[0]) if v and v[0] else None for v in told]
        assert got == want, f"{name}: the MOJO scores otherwise: {got[:3]} {want[:3]}"
        jar = os.environ.get("OCHRE_GENMODEL_JAR")
        if jar and shutil.which("java"):
            data, out = os.path.join(at, "rows.csv"), os.path.join(at, "scored.csv")
            h2o.export_file(f, data)
            r = subprocess.run(["java", "-cp", jar, "hex.genmodel.tools.PredictCsv", "--header", "--decimal", "--mojo", path, "--input",
                                data, "--output", out], capture_output=True, text=True)
            assert r.returncode == 0, f"{name}: {r.stdout[-500:]}{r.stderr[-500:]}"
            lp = [float(v.replace("NA", "nan")) for v in open(out).read().split()[1:]]
            assert all(w is None or abs(a - w) < 1e-8 for a, w in zip(lp, want)), f"{name}: Java scores otherwise: {lp[:3]} {want[:3]}"


def of_reference(f):
    """A MOJO of the reference, and what the reference scores."""
    m = h2o.import_mojo(os.path.join(HERE, "data", "mojos", "cox_strata.zip"))
    got = [float(v[0]) for v in m.predict(f[:3, :]).as_data_frame(use_pandas=False, header=False)]
    want = [0.09333251332773734, 0.6365647935935805, 0.7009272369935844]
    assert all(abs(a - b) < 1e-12 for a, b in zip(got, want)), (got, want)


def main():
    cases, bad = compared(run, "survival.json", lambda name: 3e-7)
    print(f"survival: {cases} models compared with the reference, {bad} differ")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
