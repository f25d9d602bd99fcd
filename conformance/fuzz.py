"""Every builder with random parameters on awkward frames: fuzz.py URL [SEED] (random calls of routes: robustness.py)

What is asked follows from the seed. Anything may be refused; nothing may be a fault, take for ever or end the server.
"""
import json
import random
import re
import sys
import time
import urllib.parse

import requests

URL = sys.argv[1]
DRAW = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
MODELS, PATIENCE = 600, 60
HTTP = requests.Session()
FAULT = re.compile(r"a fault in ochre|panick")
NAMES = list("abcdewtyzf")
TYPES = ["Numeric", "Numeric", "Enum", "Enum", "Enum", "Numeric", "Enum", "Enum", "Numeric", "Numeric"]
# Pairs of all predictors, and rules of trees of every length, take longer than a test has.
SLOW = {"anovaglm", "rulefit", "generic"}
KEPT = {"training_frame", "validation_frame", "model_id", "response_column", "ignored_columns", "max_runtime_secs", "ntrees", "nlearners",
        "max_iterations", "seed", "checkpoint", "export_checkpoints_dir", "in_training_checkpoints_dir", "save_matrix_directory"}
bad = []


def call(method, path, data=None):
    begun = time.time()
    r = HTTP.request(method, URL + path, **({"params": data} if method in ("GET", "DELETE") else {"data": data}), timeout=PATIENCE)
    if r.status_code == 500 or FAULT.search(r.text[:4000]):
        bad.append(f"{method} {path} {data}: {r.status_code} {r.text[:300]}")
    if time.time() - begun > PATIENCE / 2:
        bad.append(f"{method} {path} {data}: took {time.time() - begun:.0f} s")
    return r


def ended(job):
    begun = time.time()
    while True:
        j = call("GET", "/3/Jobs/" + urllib.parse.quote(job, safe="")).json()["jobs"][0]
        if j["status"] not in ("CREATED", "RUNNING"):
            return j
        if time.time() - begun > PATIENCE:
            raise RuntimeError(f"{j['description']} of {j['dest']} does not end")
        time.sleep(0.01)


def frame(name, rows, **other):
    made = random.Random(5)
    columns = {
        "a": lambda i: round(made.gauss(0, 1), 3), "b": lambda i: made.randint(0, 9), "c": lambda i: made.choice("pqrs"),
        "d": lambda i: made.choice("uv"), "e": lambda i: f"k{made.randint(0, 60)}", "w": lambda i: made.randint(0, 3),
        "t": lambda i: made.choice("TC"), "y": lambda i: made.choice(["yes", "no"]), "z": lambda i: round(made.random() * 10 + 0.1, 2),
        "f": lambda i: i % 3, **other,
    }
    text = ",".join(NAMES) + "\n" + "".join(",".join(str(columns[n](i)) for n in NAMES) + "\n" for i in range(rows))
    raw = HTTP.post(f"{URL}/3/PostFile?destination_frame=raw_{name}", files={"file": (name, text)}, timeout=PATIENCE).json()["destination_frame"]
    told = call("POST", "/3/Parse", {
        "destination_frame": name, "source_frames": json.dumps([raw]), "parse_type": "CSV", "separator": 44, "number_columns": len(NAMES),
        "column_names": json.dumps(NAMES), "column_types": json.dumps(TYPES), "check_header": 1, "delete_on_done": "true",
        "single_quotes": "false", "chunk_size": 4194304,
    }).json()
    ended(told["job"]["key"]["name"])
    return name


def value(p):
    """Something for a parameter, by its type: likely, at an edge, or absurd."""
    kind, name = p["type"], p["name"]
    if p.get("values"):
        one = DRAW.choice(p["values"])
        return json.dumps([one]) if kind.endswith("[]") else one
    if kind in ("int", "long"):
        return DRAW.choice([0, 1, 2, 3, 5, 10, 50, -1, -5, 1000000, 2147483647, -2147483648])
    if kind in ("double", "float"):
        return DRAW.choice([0, 0.1, 0.5, 0.9, 1, 2, -1, 1e-300, 1e300, "NaN", "Infinity"])
    if kind == "boolean":
        return DRAW.choice(["true", "false"])
    if kind in ("VecSpecifier", "string") and "column" in name:
        return DRAW.choice(NAMES + ["zz"])
    if kind == "string[]":
        return json.dumps(DRAW.sample(NAMES, DRAW.randint(1, 3)))
    if kind in ("double[]", "float[]", "int[]"):
        return json.dumps([DRAW.choice([0, 1, 2, -1, 2147483647]) for _ in range(DRAW.randint(1, 3))])
    if kind == "string[][]":
        return json.dumps([DRAW.sample(NAMES, DRAW.randint(1, 2)) for _ in range(DRAW.randint(1, 2))])
    if kind == "KeyValue[]":
        return json.dumps([{"key": DRAW.choice(NAMES), "value": DRAW.choice([1, -1, 0, 2])}])
    return DRAW.choice(frames) if kind.startswith("Key<Frame") else None


def model(builder, parameters):
    names = {p["name"] for p in parameters}
    form = {"training_frame": DRAW.choice(frames) if DRAW.random() < 0.6 else "plain", "seed": 1, "response_column": DRAW.choice("yzyzcfb"),
            "ntrees": 2, "nlearners": 2, "max_iterations": 4, "max_runtime_secs": 20}
    form = {k: v for k, v in form.items() if k in names}
    if DRAW.random() < 0.3 and "validation_frame" in names:
        form["validation_frame"] = DRAW.choice(frames)
    form |= {"coxph": {"stop_column": "z"}, "upliftdrf": {"treatment_column": "t", "response_column": "y"}, "gam": {"gam_columns": '[["a"]]'},
             "hglm": {"group_column": "c", "random_intercept": "true", "response_column": "z"}}.get(builder, {})
    for p in DRAW.sample(parameters, DRAW.randint(0, 5)):
        v = value(p)
        if p["name"] not in KEPT and p["name"] not in form and v is not None:
            form[p["name"]] = v
    r = call("POST", f"/3/ModelBuilders/{builder}", form)
    if r.status_code != 200:
        return "refused"
    job = ended(r.json()["job"]["key"]["name"])
    if FAULT.search(job.get("exception") or ""):
        bad.append(f"{builder} {form}: {job['exception'][:300]}")
    if job["status"] == "DONE":
        key = urllib.parse.quote(job["dest"]["name"], safe="")
        for other in DRAW.sample(frames, 2):
            call("POST", f"/3/Predictions/models/{key}/frames/{other}")
        call("GET", f"/3/Models/{key}")
        call("GET", f"/3/Models/{key}/mojo")
        call("DELETE", f"/3/Models/{key}")
    return job["status"]


frames = [
    frame("plain", 200), frame("one", 1), frame("two", 2), frame("no_answer", 60, y=lambda i: "", z=lambda i: ""),
    frame("constant", 60, a=lambda i: 1, b=lambda i: 2, y=lambda i: "yes", z=lambda i: 3), frame("empty_columns", 80, a=lambda i: "", c=lambda i: ""),
    frame("holes", 90, a=lambda i: "" if i % 2 else 1.5, b=lambda i: "" if i % 3 else i, c=lambda i: "" if i % 4 == 0 else "p", z=lambda i: "" if i % 7 == 0 else i),
    frame("large", 50, a=lambda i: 1e300 * (i % 3 - 1), b=lambda i: 1e308 if i % 2 else 5e-324, z=lambda i: 1e300 if i == 3 else i),
    frame("weightless", 50, w=lambda i: 0), frame("below", 50, z=lambda i: i - 25), frame("twice", 60, a=lambda i: 2 * i, b=lambda i: i, z=lambda i: 3 * i),
]
session = call("POST", "/4/sessions").json()["session_key"]
for made, ast in (("infinite", "(:= plain (/ (cols_py plain 0) 0) 0 [])"), ("no_rows", "(rows plain (== (cols_py plain 5) 77))")):
    call("POST", "/99/Rapids", {"ast": f"(tmp= {made} {ast})", "session_id": session})
    frames.append(made)
builders = {b: d["parameters"] for b, d in call("GET", "/3/ModelBuilders").json()["model_builders"].items() if b not in SLOW}
ends = [model(b, builders[b]) for b in (DRAW.choice(sorted(builders)) for _ in range(MODELS))]
call("DELETE", "/3/DKV")
assert call("GET", "/3/Ping").status_code == 200
for line in bad[:10]:
    print(line)
counts = ", ".join(f"{ends.count(e)} {e.lower()}" for e in sorted(set(ends)))
print(f"fuzz: {MODELS} models ({counts}), {len(bad)} faults")
sys.exit(bool(bad))
