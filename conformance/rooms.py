"""Models of the smaller rooms against those of the reference: rooms.py URL [--make]

With --make the server is the reference, and what it answers is written to rooms.json.
"""
import json
import os
import sys

import h2o
from h2o.estimators import H2OANOVAGLMEstimator as Anova
from h2o.estimators import H2OModelSelectionEstimator as Selection
from survival import differences

HERE = os.path.dirname(os.path.abspath(__file__))
ALL = ["RACE", "DPROS", "DCAPS", "PSA", "VOL", "GLEASON", "CAPSULE"]
SELECTION = {
    "maxr": ("AGE", dict(mode="maxr", max_predictor_number=4)),
    "maxr with weights": ("PSA", dict(mode="maxr", max_predictor_number=3, weights_column="ID")),
    "sweep": ("AGE", dict(mode="maxrsweep", max_predictor_number=5)),
    "sweep and build": ("VOL", dict(mode="maxrsweep", max_predictor_number=3, build_glm_model=True)),
    "all subsets": ("PSA", dict(mode="allsubsets", max_predictor_number=3)),
    "not standardized": ("PSA", dict(mode="maxr", max_predictor_number=3, standardize=False)),
    "backward": ("AGE", dict(mode="backward", min_predictor_number=3)),
    "backward binomial": ("CAPSULE", dict(mode="backward", min_predictor_number=2, family="binomial")),
    "backward poisson": ("GLEASON", dict(mode="backward", min_predictor_number=3, family="poisson")),
    "backward gamma": ("AGE", dict(mode="backward", min_predictor_number=4, family="gamma", link="log", beta_epsilon=1e-12, objective_epsilon=1e-14)),
}
ANOVA = {
    "binomial": ("CAPSULE", ["AGE", "VOL", "DCAPS"], dict(family="binomial")),
    "two categories": ("AGE", ["DPROS", "DCAPS"], dict(family="gaussian")),
    "three": ("VOL", ["CAPSULE", "RACE", "GLEASON"], dict(family="gaussian")),
    "no interactions": ("VOL", ["CAPSULE", "RACE", "GLEASON"], dict(family="gaussian", highest_interaction_term=1)),
    "pairs": ("VOL", ["CAPSULE", "RACE", "GLEASON"], dict(family="gaussian", highest_interaction_term=2)),
    "poisson": ("GLEASON", ["CAPSULE", "AGE"], dict(family="poisson")),
    "gamma": ("AGE", ["CAPSULE", "PSA"], dict(family="gamma", link="log")),
    "not standardized": ("VOL", ["AGE", "PSA"], dict(family="gaussian", standardize=False)),
    "weights": ("VOL", ["AGE", "DCAPS"], dict(family="gaussian", weights_column="ID")),
}


def cells(table):
    return [list(row) for row in table.cell_values]


def run():
    f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
    for c in ("RACE", "DCAPS", "DPROS", "CAPSULE"):
        f[c] = f[c].asfactor()
    for name, (y, p) in SELECTION.items():
        m = Selection(seed=1, **p)
        m.train([c for c in ALL + ["AGE"] if c != y], y, f)
        out = m._model_json["output"]
        got = {"coefficients": m.coef(), "normalized": m.coef_norm(), "rows": len(m.result())}
        if p.get("weights_column") is None:
            # The reference names the weights among the predictors.
            got["subsets"] = out["best_predictors_subset"]
        for field in ("best_r2_values", "coef_p_values", "z_values", "coefficient_names", "predictors_removed_per_step"):
            got[field] = out[field]
        yield f"selection {name}", got
    for name, (y, x, p) in ANOVA.items():
        m = Anova(lambda_=0, save_transformed_framekeys=True, **p)
        m.train(x, y, f)
        out = m._model_json["output"]
        got = {"summary": cells(out["model_summary"]), "tables": [cells(t) for t in out["coefficients_table"]], "rows": len(m.result())}
        yield f"anova {name}", got

    # Metrics of uplift do not depend on who predicted it.
    u = f.cbind(((f["PSA"] - 15) / 100 + (f["ID"] % 7) / 50).set_names(["u"]))
    treated = (f["DPROS"] == "2").ifelse("yes", "no").asfactor()
    for kind, more in (("qini", {}), ("gain", dict(auuc_nbins=7)), ("lift", dict(custom_auuc_thresholds=[0.1, 0.05, 0.0, -0.05]))):
        m = h2o.make_metrics(u["u"], u["CAPSULE"], treatment=treated, auuc_type=kind, **more)
        got = {k: m._metric_json[k] for k in ("ate", "att", "atc", "AUUC", "auuc_normalized", "qini")}
        for k in ("thresholds_and_metric_scores", "auuc_table", "aecu_table"):
            got[k] = cells(m._metric_json[k])
        yield f"uplift metrics {kind}", got


def main():
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    path = os.path.join(HERE, "rooms.json")
    if "--make" in sys.argv:
        with open(path, "w") as f:
            json.dump(dict(run()), f, separators=(",", ":"))
            f.write("\n")
        return
    with open(path) as f:
        wanted = json.load(f)
    bad = 0
    for name, got in run():
        # Deviances of the reference come from predictions in single precision, and differences of them are what is compared;
        # models of the gamma family end their iterations early there.
        tolerance = 1e-3 if name in ("anova gamma",) else 1e-5
        found = differences(wanted[name], json.loads(json.dumps(got)), "", tolerance)
        bad += bool(found)
        for line in found[:4]:
            print(f"{name}:{line}")
    print(f"rooms: {len(wanted)} models and metrics compared with the reference, {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
