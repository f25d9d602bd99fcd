"""Clusters of real processes on loopback addresses: the same bits as one node, and every fault told: cluster.py OCHRE [name ...]

Each test starts the nodes that it needs and ends them by their process ids.
"""
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

os.environ["DO_NOT_TRACK"] = "1"
import h2o
from h2o.estimators import (H2OAdaBoostEstimator, H2OANOVAGLMEstimator, H2ODecisionTreeEstimator,
                            H2OExtendedIsolationForestEstimator, H2OGeneralizedAdditiveEstimator, H2OGeneralizedLinearEstimator,
                            H2OHGLMEstimator, H2ORuleFitEstimator,
                            H2OGradientBoostingEstimator, H2OIsolationForestEstimator, H2OModelSelectionEstimator,
                            H2OIsotonicRegressionEstimator, H2OKMeansEstimator, H2ONaiveBayesEstimator, H2ORandomForestEstimator,
                            H2OUpliftRandomForestEstimator, H2OXGBoostEstimator)

OCHRE = sys.argv[1]
WORK = tempfile.mkdtemp(prefix="ochre-cluster-")
ROWS = 150_000
MAE = """class Mae:
    def map(self, pred, act, w, o, model):
        return [w * abs(act[0] - pred[0]), w]
    def reduce(self, l, r):
        return [l[0] + r[0], l[1] + r[1]]
    def metric(self, l):
        return l[0] / l[1]"""
SQUARES = """class Squares(object):
    def link(self):
        return "identity"
    def init(self, w, o, y):
        return [w * (y - o), w]
    def gradient(self, y, f):
        return y - f
    def gamma(self, w, y, z, f):
        return [w * z, w]"""
STOPPED_SECONDS = float(os.environ.get("OCHRE_STOPPED_SECONDS", "15"))


def free_ports(n):
    """Ports of which the next one is free too."""
    out = []
    while len(out) < n:
        with socket.socket() as a:
            a.bind(("127.0.0.1", 0))
            p = a.getsockname()[1]
        if p + 1 < 65535 and not {p - 1, p, p + 1} & set(out):
            with socket.socket() as b:
                try:
                    b.bind(("127.0.0.1", p + 1))
                    out.append(p)
                except OSError:
                    pass
    return out


class Node:
    def __init__(self, port, *flags, ip="127.0.0.1", prefix=(), env=None, name="test"):
        self.port, self.ip = port, ip
        self.url = f"http://{ip}:{port}"
        self.log_path = os.path.join(WORK, f"{port}-{time.time()}.log")
        ice = os.path.join(WORK, f"ice-{port}")
        command = [*prefix, OCHRE, "serve", "--ip", ip, "--port", str(port), "--name", name, "--max-mem", "1g", "--nthreads", "1"]
        if "--ice-root" not in flags:
            command += ["--ice-root", ice]
        command = [c for i, c in enumerate(command) if not (c in ("--max-mem",) and "--max-mem" in flags or i and command[i - 1] == "--max-mem" and "--max-mem" in flags)]
        self.log_file = open(self.log_path, "w")
        self.process = subprocess.Popen([*command, *flags], stderr=self.log_file, stdout=self.log_file, env={**os.environ, **(env or {})})

    def get(self, path, timeout=20):
        return json.load(urllib.request.urlopen(self.url + path, timeout=timeout))

    def post(self, path, timeout=60, **form):
        """Status and body."""
        data = urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=timeout) as r:
                return r.status, json.load(r)
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def log(self):
        return open(self.log_path).read()

    def until(self, seconds, check, what):
        end = time.time() + seconds
        last = None
        while time.time() < end:
            try:
                last = check(self)
                if last:
                    return last
            except OSError as e:
                last = e
            time.sleep(0.05)
        raise AssertionError(f"{what} did not happen within {seconds} s; last: {last}\n{self.log()[-3000:]}")

    def kill(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.wait()


NODES = []


def start(n, *flags, flatfile=None, **kw):
    ports = free_ports(n)
    path = flatfile or os.path.join(WORK, f"flat-{ports[0]}")
    if flatfile is None:
        with open(path, "w") as f:
            f.write("# the nodes of the test\n" + "".join(f"127.0.0.1:{p}\n" for p in ports))
    nodes = [Node(p, "--flatfile", path, *flags, **kw) for p in ports]
    NODES.extend(nodes)
    for node in nodes:
        node.until(20, lambda n: n.get("/3/Cloud")["consensus"], "a whole cluster")
    return nodes


def alone(*flags):
    node = Node(free_ports(1)[0], *flags)
    NODES.append(node)
    node.until(10, lambda n: n.get("/3/Ping"), "the first answer")
    return node


def stop_all():
    for node in NODES:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGCONT)
            node.kill()
    NODES.clear()


def data(rows=ROWS):
    """A table of numbers, categories, texts and missing values; more rows than one node keeps to itself."""
    path = os.path.join(WORK, f"data-{rows}.csv")
    if not os.path.exists(path):
        r = random.Random(7)
        with open(path, "w") as f:
            f.write("x,k,c,t,late\n")
            for _ in range(rows):
                x, k, c = r.gauss(0, 1), r.randrange(2000), r.randrange(40)
                late = "Y" if x + (c % 7) / 3 + r.gauss(0, 1) > 1.2 else "N"
                f.write(f"{'' if r.random() < 0.01 else f'{x:.6f}'},{k},c{c},{'' if r.random() < 0.02 else f'text {k % 97}'},{late}\n")
    return path


def connect(node):
    h2o.connect(url=node.url, verbose=False)
    h2o.no_progress()


def digest(frame):
    path = os.path.join(WORK, "download.csv")
    h2o.download_csv(frame, path)
    return hashlib.sha1(open(path, "rb").read()).hexdigest()


def scenario(node):
    """What a user does; every number and every byte that comes back."""
    connect(node)
    out = {}
    a = h2o.import_file(data(), col_types={"t": "string"})
    out["frame"] = digest(a)
    summary = h2o.api(f"GET /3/Frames/{a.frame_id}/summary")["frames"][0]["columns"]
    out["summary"] = [[c["label"], c["type"], c["mean"], c["sigma"], c["missing_count"], c["percentiles"], c["mins"], c["maxs"]] for c in summary]
    some = a[a["k"] > 500, :]
    out["rows"] = [some.nrow, digest(some)]
    made = (a["x"] * 2 + a["k"] / 7).abs().sqrt()
    out["made"] = [digest(made), made.mean(), made.sd(), made.max()]
    out["logic"] = digest(((a["x"] > 0) & (a["c"] == "c3")).ifelse(a["k"], -1))
    out["bound"] = digest(a[["x", "c"]].cbind(made).rbind(a[["x", "c"]].cbind(made))[0:90_000, :])
    out["group"] = digest(a.group_by("c").mean("x").sum("k").count().get_frame())
    a["coarse"] = (a["x"] * 1600).round()
    for by in (["c"], ["k"], ["coarse"], ["x"], ["c", "k"], ["late", "coarse"]):
        groups = a.group_by(by).count().sum("x").sd("x", na="rm").var("k").min("x", na="rm").max("k").ss("x", na="ignore")
        out["group by " + " ".join(by)] = digest(groups.get_frame())
    out["medians"] = digest(a.group_by("c").median("x", na="rm").get_frame())
    out["sort"] = digest(a.sort(["k", "x"]))
    out["sorts"] = [digest(a.sort(by, ascending=up)) for by, up in ((["c", "x"], [False, True]), (["late"], [False]), (["x"], [True]), ([], []))]
    a["id"] = (a["x"].isna() >= 0).cumsum()
    by_id, by_x = a[a["k"] % 3 != 0, ["id", "late"]].sort("late"), a.group_by("x").count().get_frame()
    few = a.group_by("c").mean("k").count().get_frame()[3:20, :]
    coarse = a.group_by(["c", "coarse"]).count().get_frame()
    for name, other, by in (("id", by_id, ["id"]), ("x", by_x, ["x"]), ("c", few, ["c"]), ("coarse", coarse, ["c", "coarse"])):
        for keep in ({}, {"all_x": True}, {"all_y": True}):
            out[f"merge by {name} {keep}"] = digest(a.merge(other, by_x=by, by_y=by, **keep))
    out["merge of texts"] = digest(a[["t", "k"]].merge(a[100:300, ["t", "late"]], by_x=["t"], by_y=["t"]))
    out["ranks"] = digest(a.rank_within_group_by(["c"], ["x"], ascending=[False]))
    out["melted"] = digest(a.melt(id_vars=["c", "id"], value_vars=["x", "k"], skipna=True))
    out["pivoted"] = digest(a.pivot(index="k", column="c", value="x"))
    out["once"] = digest(a.drop_duplicates(["k", "c"], keep="last"))
    out["table"] = digest(a["c"].table())
    out["quantile"] = digest(a["x"].quantile([0.1, 0.5, 0.9]))
    train, test = a.split_frame([0.8], seed=3)
    out["split"] = [train.nrow, test.nrow]
    x = ["x", "k", "c"]
    m = H2OGradientBoostingEstimator(ntrees=8, max_depth=5, seed=1, sample_rate=0.8, col_sample_rate=0.7)
    m.train(x, "late", train, validation_frame=test)
    out["gbm"] = [digest(m.predict(test)), m.auc(), m.auc(valid=True), m.logloss(), m.varimp()]
    out["performance"] = m.model_performance(test).auc()
    m = H2OGradientBoostingEstimator(ntrees=3, max_depth=4, seed=1)
    m.train(["x", "k", "late"], "c", train)
    out["classes"] = [digest(m.predict(test)), m.logloss()]
    m = H2OGeneralizedLinearEstimator(family="binomial", lambda_=1e-4, alpha=0.5, seed=1)
    m.train(x, "late", train)
    out["glm"] = [m.coef(), m.auc(), m.null_deviance()]
    m = H2OKMeansEstimator(k=4, seed=5)
    m.train(["x", "k"], training_frame=a)
    out["kmeans"] = [m.centers(), m.tot_withinss()]
    m = H2ORandomForestEstimator(ntrees=4, max_depth=8, seed=1, histogram_type="Random")
    m.train(x, "late", train, validation_frame=test)
    out["drf"] = [digest(m.predict(test)), m.auc(), m.auc(valid=True), m.varimp()]
    m = H2OXGBoostEstimator(ntrees=4, max_depth=5, seed=1, sample_rate=0.8, col_sample_rate=0.7)
    m.train(x, "late", train, validation_frame=test)
    out["xgboost"] = [digest(m.predict(test)), m.auc(), m.auc(valid=True), m.varimp()]
    m = H2OXGBoostEstimator(ntrees=3, booster="gblinear")
    m.train(x, "late", train, validation_frame=test)
    out["gblinear"] = [digest(m.predict(test)), m.auc()]
    m = H2OIsolationForestEstimator(ntrees=10, seed=1, contamination=0.1)
    m.train(x, training_frame=a)
    e = H2OExtendedIsolationForestEstimator(ntrees=10, seed=1, extension_level=2)
    e.train(x, training_frame=a)
    out["extended"] = digest(e.predict(a))
    out["isolation"] = [digest(m.predict(a)), m._model_json["output"]["training_metrics"]._metric_json["mean_score"]]
    a["half"] = (a["k"] % 2 == 0).ifelse("treated", "not").asfactor()
    m = H2OUpliftRandomForestEstimator(ntrees=4, max_depth=5, seed=1, treatment_column="half")
    m.train(["x", "c"], "late", a)
    out["uplift"] = [digest(m.predict(a)), m.auuc(), m.varimp()]
    m = H2OModelSelectionEstimator(mode="maxr", max_predictor_number=2)
    m.train(["x", "c", "late"], "k", train)
    out["selection"] = [m.get_best_R2_values(), m.coef()]
    m = H2OANOVAGLMEstimator(family="binomial", lambda_=0, highest_interaction_term=2)
    m.train(["x", "k", "c"], "late", train)
    out["anova"] = m._model_json["output"]["model_summary"].cell_values
    m = H2OGeneralizedAdditiveEstimator(family="binomial", gam_columns=["x", ["x", "k"]], bs=[0, 1], num_knots=[6, 7], lambda_=[0.0])
    m.train(["c"], "late", train)
    out["gam"] = [m.coef(), digest(m.predict(test))]
    m = H2OHGLMEstimator(group_column="c", random_columns=["k"], seed=1)
    m.train(["k", "c"], "x", train)
    out["hglm"] = [m.coef(), digest(m.predict(test))]
    m = H2ORuleFitEstimator(algorithm="GBM", rule_generation_ntrees=3, max_num_rules=8, seed=1)
    m.train(x, "late", train)
    out["rulefit"] = digest(m.predict(test))
    m = H2OAdaBoostEstimator(nlearners=3, weak_learner="DRF", seed=1)
    m.train(x, "late", train)
    out["adaboost"] = digest(m.predict(test))
    m = H2ODecisionTreeEstimator(max_depth=5, seed=1)
    m.train(x, "late", train)
    out["dt"] = digest(m.predict(test))
    for encoding in ("one_hot_explicit", "binary", "enum_limited"):
        m = H2OGradientBoostingEstimator(ntrees=3, max_depth=4, seed=1, categorical_encoding=encoding)
        m.train(x, "late", train, validation_frame=test)
        out[encoding] = [digest(m.predict(test)), m.auc(valid=True)]
    for kind in ("QuantilesGlobal", "UniformRobust", "RoundRobin"):
        m = H2OGradientBoostingEstimator(ntrees=3, max_depth=4, seed=1, histogram_type=kind)
        m.train(x, "late", train)
        out[kind] = digest(m.predict(test))
    metric = h2o.upload_custom_metric(MAE, class_name="Mae", func_name="mae", func_file="mae.py")
    loss = h2o.upload_custom_distribution(SQUARES, class_name="Squares", func_name="squares", func_file="squares.py")
    m = H2OGradientBoostingEstimator(ntrees=2, max_depth=4, seed=1, score_tree_interval=2, custom_metric_func=metric,
                                     distribution="custom", custom_distribution_func=loss)
    m.train(["k", "c", "late"], "x", train)
    out["custom"] = [digest(m.predict(test)), m.model_performance(train=True).custom_metric_value()]
    m = H2OKMeansEstimator(k=4, estimate_k=True, seed=5, max_iterations=5)
    m.train(["x", "k"], training_frame=train)
    out["estimated"] = [m.centers(), m.size()]
    m = H2OKMeansEstimator(k=3, seed=5, max_iterations=3, cluster_size_constraints=[train.nrow // 4] * 3)
    m.train(["x", "k"], training_frame=train)
    out["bounded"] = [m.centers(), m.size()]
    m = H2OGeneralizedLinearEstimator(family="gaussian", lambda_=0, influence="dfbetas")
    m.train(["k", "c", "late"], "x", train)
    out["influence"] = digest(m.get_regression_influence_diagnostics())
    out["interplay"] = m.h(test, ["x", "k"])
    m = H2ONaiveBayesEstimator(laplace=1, nfolds=3, seed=1)
    m.train(x, "late", train)
    out["bayes"] = [digest(m.predict(test)), m.auc(), m.logloss(xval=True)]
    m = H2OIsotonicRegressionEstimator(out_of_bounds="clip")
    m.train(["k"], "x", a)
    out["isotonic"] = digest(m.predict(a))
    m = H2OGeneralizedLinearEstimator(lambda_=0, interactions=["k", "late"], compute_p_values=True, generate_variable_inflation_factors=True)
    m.train(["k", "late"], "x", a)
    out["interactions"] = [m.coef(), digest(m.predict(a))]
    some = a[(a["c"] == "c1") | (a["c"] == "c2") | (a["c"] == "c3"), :]
    some["c"] = some["c"].ascharacter().asfactor()
    m = H2OGeneralizedLinearEstimator(family="ordinal", lambda_=0)
    m.train(["x", "k"], "c", some)
    out["ordinal"] = [m.logloss(), digest(m.predict(some))]
    s = H2OGradientBoostingEstimator(ntrees=2, max_depth=3, seed=1).train_segments(
        x=["k", "c"], y="x", training_frame=a, segments=["late"], segment_models_id="segments")
    out["segments"] = digest(s.as_frame())
    packed = os.path.join(WORK, "packed.parquet")
    h2o.export_file(a, packed, format="parquet", force=True)
    out["parquet"] = digest(h2o.import_file(packed, col_types={"t": "string"}))
    h2o.remove_all()
    left = node.get("/3/Frames")["frames"] + node.get("/3/Models")["models"]
    assert not left, f"everything was removed, but {left}"
    return json.dumps(out, sort_keys=True)


def same_bits():
    """1, 3 and 5 nodes give what one node with one thread gives."""
    expected = scenario(alone())
    stop_all()
    for n in (3, 5):
        t = time.time()
        nodes = start(n)
        formed = time.time() - t
        assert formed < 5 or n > 3, f"three nodes took {formed:.1f} s"
        # Any node answers.
        got = scenario(nodes[1])
        assert got == expected, difference(expected, got)
        for node in nodes:
            assert node.get("/3/Frames")["frames"] == [], "no key is left on any node"
        print(f"    {n} nodes formed in {formed:.2f} s; the same bits")
        stop_all()
    nodes = start(2, "--replicas", "2")
    got = scenario(nodes[0])
    assert got == expected, difference(expected, got)


def difference(a, b):
    a, b = json.loads(a), json.loads(b)
    return "; ".join(f"{k}: {a[k]} and {b[k]}"[:300] for k in a if a[k] != b[k])


def train_long(node, on_start=lambda: None):
    connect(node)
    a = h2o.import_file(data(), destination_frame="a")
    m = H2OGradientBoostingEstimator(ntrees=60, max_depth=6, seed=1, sample_rate=0.8, model_id="long")
    on_start()
    t = time.time()
    m.train(["x", "k", "c"], "late", a)
    took = time.time() - t
    return took, [digest(m.predict(a)), m.auc(), m.varimp()]


def kill_any_of_four():
    """kill -9 of any node in the middle of a GBM: the job ends with the same bits."""
    _, expected = train_long(alone())
    stop_all()
    undisturbed, same = train_long(start(4)[0])
    assert same == expected
    stop_all()
    for victim in range(4):
        nodes = start(4)
        client = nodes[(victim + 1) % 4]
        pause = {}

        def strike():
            time.sleep(undisturbed * 0.4)
            nodes[victim].kill()
            pause["killed"] = time.time()
            client.until(30, lambda n: n.get("/3/Cloud")["epoch"] == 2, "a cluster without the killed node")
            pause["noticed"] = time.time()

        thread = threading.Thread(target=strike)
        took, got = train_long(client, thread.start)
        thread.join()
        assert got == expected, f"victim {victim}: {got} and {expected}"
        cloud = client.get("/3/Cloud")
        assert cloud["bad_nodes"] == 1 and cloud["cloud_size"] == 4, cloud
        # Copies are whole again: the frame can be read when one more node's worth of memory is asked for.
        assert h2o.get_frame("a").nrow == ROWS
        print(f"    node {victim} killed: noticed after {pause['noticed'] - pause['killed']:.2f} s, job {took:.1f} s instead of {undisturbed:.1f} s")
        stop_all()


def stopped_node():
    """A node that is paused does not split the cluster: the others go on, it is told that it was left out."""
    nodes = start(3)
    connect(nodes[0])
    h2o.import_file(data(), destination_frame="a")
    nodes[2].kill(signal.SIGSTOP)
    t = time.time()
    nodes[0].until(40, lambda n: n.get("/3/Cloud")["epoch"] == 2, "a cluster without the stopped node")
    noticed = time.time() - t
    assert h2o.get_frame("a")["x"].mean()[0] is not None
    time.sleep(max(0, STOPPED_SECONDS - noticed))
    nodes[2].kill(signal.SIGCONT)
    nodes[2].until(20, lambda n: "left out" in (n.get("/3/Cloud")["why_not_whole"] or ""), "the resumed node's insight")
    status, body = nodes[2].post("/99/Rapids", ast="(+ 1 2)")
    assert status == 503 and "was left out of the cluster" in body["msg"] and "Restart it" in body["msg"], body
    status, body = nodes[0].post("/99/Rapids", ast="(+ 1 2)")
    assert status == 200 and body["scalar"] == 3
    print(f"    noticed after {noticed:.1f} s; afterwards: {nodes[2].get('/3/Cloud')['why_not_whole']}")


def minority():
    """What is left when a majority is gone accepts nothing, and says so."""
    nodes = start(3)
    nodes[0].kill()
    nodes[1].kill()
    status, body = nodes[2].post("/99/Rapids", ast="(+ 1 2)", timeout=60)
    assert status == 503 and "majority of the 3 nodes" in body["msg"], body
    print(f"    {body['msg'].strip()}")


def never_whole():
    """A flatfile that names a node that does not exist, or a name that cannot be resolved."""
    ports = free_ports(2)
    path = os.path.join(WORK, "wrong")
    with open(path, "w") as f:
        f.write(f"127.0.0.1:{ports[0]}\n127.0.0.1:{ports[1]}\nno-such-host.invalid:54321\n")
    node = Node(ports[0], "--flatfile", path, "--cluster-timeout", "9")
    NODES.append(node)
    node.until(10, lambda n: "no-such-host" in (n.get("/3/Cloud")["why_not_whole"] or ""), "the reason in /3/Cloud")
    why = node.get("/3/Cloud")["why_not_whole"]
    assert "1 of 3 nodes are there" in why and "cannot be resolved" in why and f"{ports[1]} (REST API) cannot be reached" in why, why
    status, body = node.post("/99/Rapids", ast="(+ 1 2)")
    assert status == 503 and "is not whole yet" in body["msg"], body
    assert node.process.wait(20) == 1, "the time-out ends the process"
    assert "did not become whole within 9 seconds" in node.log()
    print(f"    {why}")


def doctor():
    """`ochre doctor` says what fails and what to do."""
    ports = free_ports(2)
    flags = ["--port", str(ports[0]), "--cluster-size", "2", "--seeds"]
    out = subprocess.run([OCHRE, "doctor", *flags, f"127.0.0.1:{ports[1]},no-such-host.invalid:1"], capture_output=True, text=True)
    assert out.returncode == 1 and "nothing listens there: start ochre on it" in out.stdout and "cannot be resolved" in out.stdout, out
    nodes = start(2)
    out = subprocess.run([OCHRE, "doctor", *flags, f"127.0.0.1:{nodes[0].port}"], capture_output=True, text=True)
    bad = [line for line in out.stdout.splitlines() if line.startswith("BAD")]
    assert any("belongs to the cluster 'test'" in line for line in bad), out.stdout
    assert "reaches this node at" in out.stdout, out.stdout


def refused_port():
    port = free_ports(1)[0]
    with socket.socket() as s:
        s.bind(("127.0.0.1", port + 1))
        s.listen()
        node = Node(port, "--seeds", "127.0.0.1:1", "--cluster-size", "2")
        assert node.process.wait(10) == 1
        assert f"Cannot listen on 127.0.0.1:{port + 1}, the port after --port" in node.log(), node.log()


def mismatch():
    """Nodes that differ refuse each other, and both say why."""
    for flags, env, told in [
        (["--max-mem", "9g"], {}, "memory differs too much"),
        ([], {"OCHRE_CLOCK_OFFSET_MS": "600000"}, "its clock is 600 seconds"),
        (["--cluster-size", "3"], {}, "the cluster's size differs"),
        (["--name", "other"], {}, "belongs to another cluster"),
    ]:
        ports = free_ports(2)
        path = os.path.join(WORK, f"flat-{ports[0]}")
        with open(path, "w") as f:
            f.write("".join(f"127.0.0.1:{p}\n" for p in ports))
        name = "other" if "--name" in flags else "test"
        flags = [f for f in flags if f not in ("--name", "other")]
        pair = [Node(ports[0], "--flatfile", path), Node(ports[1], "--flatfile", path, *flags, env=env, name=name)]
        NODES.extend(pair)
        for node in pair:
            node.until(15, lambda n: told in (n.get("/3/Cloud")["why_not_whole"] or ""), f"'{told}' on {node.port}")
        print(f"    {pair[0].get('/3/Cloud')['why_not_whole']}")
        stop_all()


def late_node():
    """A node that comes when the cluster has formed is told why it may not join."""
    nodes = start(2)
    late = Node(free_ports(1)[0], "--seeds", f"127.0.0.1:{nodes[0].port}", "--cluster-size", "2")
    NODES.append(late)
    late.until(15, lambda n: "formed without this node" in (n.get("/3/Cloud")["why_not_whole"] or ""), "the reason")
    status, body = nodes[0].post("/99/Rapids", ast="(+ 1 2)")
    assert status == 200, body


def full_disk():
    """An upload that one node has no disk for fails with that node's name; nothing is half there."""
    disk = os.path.join(WORK, "disk")
    os.makedirs(disk, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True).returncode != 0:
        print("    skipped: this machine does not let us mount a small disk")
        return
    try:
        ports = free_ports(2)
        path = os.path.join(WORK, f"flat-{ports[0]}")
        with open(path, "w") as f:
            f.write("".join(f"127.0.0.1:{p}\n" for p in ports))
        pair = [Node(ports[0], "--flatfile", path), Node(ports[1], "--flatfile", path, "--ice-root", disk)]
        NODES.extend(pair)
        for node in pair:
            node.until(15, lambda n: n.get("/3/Cloud")["consensus"], "a whole cluster")
        connect(pair[0])
        try:
            h2o.upload_file(data())
            raise AssertionError("the upload should have failed")
        except Exception as e:
            assert "No space left" in str(e) and str(ports[1] + 1) in str(e), e
        assert pair[0].get("/3/Frames")["frames"] == []
        status, body = pair[0].post("/99/Rapids", ast="(+ 1 2)")
        assert status == 200, body
    finally:
        stop_all()
        subprocess.run(["umount", disk])


def cut_link():
    """A link that is cut in one direction, in network namespaces: the cluster goes on without one of the two."""
    tag = f"oc{os.getpid() % 10000}"
    names = [f"{tag}n{i}" for i in range(3)]

    def run(*command):
        return subprocess.run(command, capture_output=True, text=True)

    if run("ip", "netns", "add", names[0]).returncode != 0:
        print("    skipped: this machine does not let us make network namespaces")
        return
    try:
        run("ip", "netns", "add", f"{tag}sw")
        run("ip", "-n", f"{tag}sw", "link", "add", "br0", "type", "bridge")
        bridged = run("ip", "-n", f"{tag}sw", "link", "set", "br0", "up").returncode == 0
        for i, ns in enumerate(names):
            if i:
                run("ip", "netns", "add", ns)
            made = run("ip", "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{i}", "netns", f"{tag}sw")
            bridged = bridged and made.returncode == 0
            run("ip", "-n", f"{tag}sw", "link", "set", f"v{i}", "master", "br0")
            run("ip", "-n", f"{tag}sw", "link", "set", f"v{i}", "up")
            run("ip", "-n", ns, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            run("ip", "-n", ns, "link", "set", "eth0", "up")
            run("ip", "-n", ns, "link", "set", "lo", "up")
        if not bridged:
            print("    skipped: this machine has no bridges")
            return
        path = os.path.join(WORK, "flat-ns")
        with open(path, "w") as f:
            f.write("".join(f"10.77.0.{i + 1}:54321\n" for i in range(3)))

        def cloud(i):
            out = run("ip", "netns", "exec", names[i], "curl", "-s", "-m", "5", f"http://10.77.0.{i + 1}:54321/3/Cloud").stdout
            return json.loads(out) if out else {}

        nodes = [
            Node(54321, "--flatfile", path, "--ice-root", os.path.join(WORK, f"ns{i}"), ip=f"10.77.0.{i + 1}", prefix=("ip", "netns", "exec", ns))
            for i, ns in enumerate(names)
        ]
        NODES.extend(nodes)

        def wait(i, seconds, check, what):
            end = time.time() + seconds
            while time.time() < end:
                c = cloud(i)
                if c and check(c):
                    return c
                time.sleep(0.2)
            raise AssertionError(f"{what} did not happen within {seconds} s: {cloud(i)}\n{nodes[i].log()[-2000:]}")

        for i in range(3):
            wait(i, 20, lambda c: c["consensus"], "a whole cluster")
        leader = cloud(0)["leader_idx"]
        one, two = [i for i in range(3) if i != leader]
        t = time.time()
        run("ip", "-n", names[one], "route", "add", "blackhole", f"10.77.0.{two + 1}/32")
        after = wait(leader, 40, lambda c: c["epoch"] == 2, "a decision about the cut link")
        noticed = time.time() - t
        out = one if not after["nodes"][one]["healthy"] else two
        why = wait(out, 20, lambda c: c["why_not_whole"], "the excluded node's insight")["why_not_whole"]
        assert "the link from" in why and "is cut" in why, why
        reply = run("ip", "netns", "exec", names[leader], "curl", "-s", "-m", "20", "--data-urlencode", "ast=(+ 1 2)", f"http://10.77.0.{leader + 1}:54321/99/Rapids")
        assert json.loads(reply.stdout)["scalar"] == 3, reply.stdout
        print(f"    decided after {noticed:.1f} s: {why}")
    finally:
        stop_all()
        for ns in [*names, f"{tag}sw"]:
            run("ip", "netns", "del", ns)


def jobs():
    """A job that fails on all, and one that is cancelled; a file that only some nodes see."""
    nodes = start(3)
    connect(nodes[0])
    a = h2o.import_file(data(), destination_frame="a")
    m = H2OGradientBoostingEstimator(ntrees=5000, max_depth=8, seed=1, model_id="endless")
    thread = threading.Thread(target=lambda: m.train(["x", "k"], "late", a))
    caught = []

    def train():
        try:
            m.train(["x", "k"], "late", a)
        except Exception as e:
            caught.append(str(e))

    thread = threading.Thread(target=train)
    thread.start()
    job = nodes[1].until(20, lambda n: [j for j in n.get("/3/Jobs")["jobs"] if j["status"] == "RUNNING" and j["description"] == "GBM"], "a running job")[0]
    t = time.time()
    nodes[2].post(f"/3/Jobs/{urllib.parse.quote(job['key']['name'], safe='')}/cancel")
    thread.join(30)
    assert not thread.is_alive(), "a cancelled job ends"
    for node in nodes:
        node.until(10, lambda n: not [j for j in n.get("/3/Jobs")["jobs"] if j["status"] == "RUNNING"], "the end everywhere")
        status, body = node.post("/3/ModelBuilders/gbm", training_frame="a", response_column="nothing")
        assert status == 412 and "nothing" in body["msg"], body
    print(f"    cancelled on another node in {time.time() - t:.2f} s")
    used = [n["mem_value_size"] for n in nodes[0].get("/3/Cloud")["nodes"]]
    h2o.remove_all()
    for node in nodes:
        node.until(10, lambda n: n.get("/3/Cloud")["nodes"][0]["mem_value_size"] == 0, f"memory given back (was {used})")


TESTS = [same_bits, kill_any_of_four, stopped_node, minority, never_whole, doctor, refused_port, mismatch, late_node, full_disk, cut_link, jobs]


def main():
    wanted = sys.argv[2:]
    passed, failed = 0, []
    for test in TESTS:
        if wanted and test.__name__ not in wanted:
            continue
        t = time.time()
        try:
            test()
            passed += 1
            print(f"ok   {test.__name__} ({time.time() - t:.1f} s)", flush=True)
        except Exception as e:
            failed.append(test.__name__)
            print(f"FAIL {test.__name__}: {type(e).__name__}: {e}", flush=True)
        finally:
            stop_all()
    shutil.rmtree(WORK, ignore_errors=True)
    print(f"cluster: {passed} passed, {len(failed)} failed")
    sys.stdout.flush()
    # The client would say good-bye to servers that are gone.
    os._exit(1 if failed else 0)


main()
