"""What users do wrong, and what they are told: bad_input.py URL OCHRE"""
import os
import subprocess
import sys
import tempfile

os.environ["DO_NOT_TRACK"] = "1"
import h2o  # noqa: E402
from h2o.estimators import H2OCoxProportionalHazardsEstimator as Cox  # noqa: E402
from h2o.estimators import H2OGeneralizedLinearEstimator as GLM  # noqa: E402
from h2o.estimators import H2OGradientBoostingEstimator as GBM  # noqa: E402
from h2o.estimators import H2OKMeansEstimator as KMeans  # noqa: E402
from h2o.estimators import H2OUpliftRandomForestEstimator as Uplift  # noqa: E402
from h2o.estimators import H2OXGBoostEstimator as XGB  # noqa: E402
from h2o.grid import H2OGridSearch  # noqa: E402

url, ochre = sys.argv[1:3]
data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
h2o.connect(url=url, verbose=False)
h2o.no_progress()
told = 0


def says(what, words, do):
    """`do` fails, and the message has all the words."""
    global told
    try:
        do()
    except Exception as e:  # noqa: BLE001
        text = str(e)
        missing = [w for w in words if w not in text]
        assert not missing, f"{what}: the message lacks {missing}: {text[:400]}"
        told += 1
        return
    raise AssertionError(f"{what}: nothing was refused")


def train(algo, **kw):
    seed = {} if algo is Cox else {"seed": 1}
    m = algo(**seed, **{k: v for k, v in kw.items() if k not in ("x", "y", "frame")})
    m.train(x=kw.get("x"), y=kw.get("y"), training_frame=kw["frame"])


with tempfile.TemporaryDirectory() as d:

    def file(name, content):
        path = os.path.join(d, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    says("missing file", ["/no/such/file.csv", "does not exist"], lambda: h2o.import_file("/no/such/file.csv"))
    says("empty file", ["empty.csv", "no bytes"], lambda: h2o.import_file(file("empty.csv", b"")))
    says("binary file", ["noise.csv", "not text"], lambda: h2o.import_file(file("noise.csv", bytes(range(256)) * 40)))
    says("damaged zstd", ["cut.csv.zst", "damaged"], lambda: h2o.import_file(file("cut.csv.zst", b"\x28\xb5\x2f\xfdgarbage that is no zstd")))
    says("damaged bzip2", ["cut.csv.bz2", "damaged"], lambda: h2o.import_file(file("cut.csv.bz2", b"BZh91AY&SYgarbage that is no bzip2")))
    for ending, head in (("orc", b"ORC"), ("avro", b"Obj\x01"), ("parquet", b"PAR1")):
        says(f"damaged {ending}", [f"cut.{ending}", "damaged"], lambda: h2o.import_file(file(f"cut.{ending}", head + bytes(range(256)) * 9)))
    says("damaged gzip", ["cut.csv.gz", "damaged"], lambda: h2o.import_file(file("cut.csv.gz", b"\x1f\x8b\x08\x00garbage that is no gzip")))
    mixed = os.path.join(d, "mixed")
    os.mkdir(mixed)
    file("mixed/a.csv", b"a,b,c\n" + b"1,2,3\n" * 50)
    file("mixed/b.csv", b"p;q\n" + b"one text;other\n" * 50)
    says("directory of mixed formats", ["b.csv"], lambda: h2o.import_file(mixed))
    ragged = h2o.import_file(file("ragged.csv", b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n"))
    assert ragged.shape == (3, 3)

    p = h2o.import_file(os.path.join(data, "prostate.csv"))
    says("no such response", ["nope"], lambda: train(GBM, y="nope", frame=p))
    one = p[:, :]
    one["K"] = 1
    says("constant response", ["Response cannot be constant"], lambda: train(GBM, y="K", frame=one))
    one["N"] = one["AGE"] * -1
    says("negative counts", ["Poisson response must be non-negative", "-79"], lambda: train(GLM, y="N", frame=one, family="poisson"))
    says("negative counts in trees", ["non-negative"], lambda: train(GBM, y="N", frame=one, distribution="poisson"))
    says("a parameter out of range", ["learn_rate", "(0, 1]", "2"], lambda: train(GBM, y="AGE", frame=p, learn_rate=2.0))
    says("an unsupported parameter", ["save_matrix_directory", "not supported"], lambda: train(XGB, y="CAPSULE", frame=p, save_matrix_directory="/tmp"))
    says("unknown algorithm", ["nosuch", "gbm"], lambda: h2o.api("POST /3/ModelBuilders/nosuch"))
    says("a key of another type", ["expected a value of type Model", "Frame"], lambda: h2o.api("GET /3/Models/" + p.frame_id))
    says("a missing frame", ["nokey", "not found"], lambda: h2o.api("GET /3/Frames/nokey"))
    says("a wrong expression", ["Name lookup of 'nope' failed"], lambda: h2o.rapids("(nope 1)"))

    two = p[:, :]
    two["CAPSULE"] = two["CAPSULE"].asfactor()
    says("classes as numbers between", ["numeric"], lambda: train(GBM, y="CAPSULE", frame=two, distribution="quasibinomial"))
    says("classes as numbers between, linear", ["numeric"], lambda: train(GLM, y="CAPSULE", frame=two, family="quasibinomial"))
    says("points for other clusters", ["_user_y", "3 rows", "k is 2"], lambda: train(KMeans, x=["AGE", "PSA"], frame=p, k=2, user_points=p[:3, ["AGE", "PSA"]]))
    says("points of other columns", ["_user_y", "1 columns"], lambda: train(KMeans, x=["AGE", "PSA"], frame=p, k=3, user_points=p[:3, ["AGE"]]))
    survival = dict(x=["AGE", "PSA"], frame=two, stop_column="ID")
    says("strata that are not there", ["_stratify_by", "'nope'"], lambda: train(Cox, y="CAPSULE", stratify_by=["nope"], **survival))
    says("events that are shares", ["integer or factor"], lambda: train(Cox, y="VOL", **survival))
    says("a treatment of numbers", ["_treatment_column", "categorical"], lambda: train(Uplift, y="CAPSULE", frame=two, treatment_column="PSA"))

    def search(criteria=None, **kw):
        H2OGridSearch(GBM(ntrees=1), {"max_depth": [1, 2]}, search_criteria=criteria, **kw).train(y="AGE", training_frame=p)

    says("a search that stops by nothing", ["search_criteria", "nope"], lambda: search({"strategy": "RandomDiscrete", "stopping_metric": "nope"}))
    says("a search in less than one", ["parallelism", "-1"], lambda: search(parallelism=-1))
    says("a way to merge", ["'nope'", "radix"], lambda: p.merge(two, method="nope").head(1))

    # What would take more memory than there is, by a number.
    huge = 2**31 - 1
    says("billions of bins", ["_nbins", str(huge)], lambda: train(GBM, y="AGE", frame=p, nbins=huge))
    says("billions of groups", ["_gainslift_bins", str(huge)], lambda: train(GBM, y="AGE", frame=p, gainslift_bins=huge))
    says("billions of penalties", ["_nlambdas", str(huge)], lambda: train(GLM, y="AGE", frame=p, nlambdas=huge))
    says("a long column", ["Not enough memory", "1000000000000 numbers"], lambda: h2o.rapids("(tmp= long (rep_len 3 1e12))"))
    says("a long sequence", ["Not enough memory"], lambda: h2o.rapids("(tmp= long (seq 1 1e12 1))"))
    says("billions of intervals", ["intervals", str(huge)], lambda: h2o.rapids(f"(tmp= long (cut (cols_py {p.frame_id} \"AGE\") {huge} [] 1 1 3))"))
    says("billions of columns", ["cols", str(huge)], lambda: h2o.api("POST /3/CreateFrame", data={"rows": 3, "cols": huge}))
    cells = {"dataset": p.frame_id, "predictor": "AGE", "response": "PSA", "nbins_predictor": 10**5, "nbins_response": 10**5}
    says("billions of cells", ["1000000 cells"], lambda: h2o.api("POST /99/Tabulate", data=cells))

    def command(*args):
        r = subprocess.run([ochre, *args], capture_output=True, text=True, timeout=60)
        if r.returncode != 0:
            raise RuntimeError(r.stderr)

    port = url.rsplit(":", 1)[1]
    says("a port in use", [port, "--port"], lambda: command("serve", "--port", port))
    says("more memory than there is", ["--max-mem", "this machine"], lambda: command("serve", "--max-mem", "4000t"))
    says("no such column", ["AGEE", "AGE"], lambda: command("train", "gbm", os.path.join(data, "prostate.csv"), "--response", "AGEE"))
    # A line of half a gigabyte, most of it a hole in the file.
    long = os.path.join(d, "long.csv")
    with open(long, "wb") as f:
        f.write(b"a,b\n1,")
        f.write(b"x" * (80 << 20))
        f.write(b"\n")
    says("an endless line", ["long.csv", "longer than"], lambda: h2o.import_file(long, header=1, col_types=["numeric", "string"]))
    # A table that does not fit into the memory given.
    wide = os.path.join(d, "wide.csv")
    with open(wide, "w") as f:
        f.write("a,b,c,d\n")
        for i in range(400_000):
            f.write(f"{i}.5,{i}.25,{i}.125,{i}.75\n")
    says("data larger than memory", ["Not enough memory", "bytes are needed"], lambda: command("train", "gbm", wide, "--response", "a", "--max-mem", "8m"))

h2o.remove_all()
print(f"bad input: {told} mistakes, each told by name")
