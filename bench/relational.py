"""Parse, group-by, join and sort: ochre (through the official client), Polars, DuckDB and the reference on the same files.

    python bench/relational.py DIR ROWS [--runs 5] [--no-reference] [--max-mem 8g]

DIR holds the tables of the db-benchmark: G1_ROWS.csv (id1..id6, v1..v3) and J1_ROWS_{x,small,medium,big}.csv.
Needs `pip install h2o==3.46.0.11 polars duckdb` and Java. Prints medians and ratios; only ratios within one run mean
anything. The client's time includes its round trips.
"""
import argparse
import os
import statistics
import time
import warnings

from servers import ochre, reference, serving

warnings.filterwarnings("ignore")
import duckdb  # noqa: E402
import h2o  # noqa: E402
import polars as pl  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("dir")
parser.add_argument("rows", type=int)
parser.add_argument("--runs", type=int, default=5)
parser.add_argument("--no-reference", action="store_true")
parser.add_argument("--max-mem", default="8g")
args = parser.parse_args()
path = lambda name: os.path.join(args.dir, f"{name}.csv")  # noqa: E731
G, J = f"G1_{args.rows}", f"J1_{args.rows}"
times = {}


def timed(task, who, work):
    out = []
    for _ in range(args.runs):
        began = time.perf_counter()
        work()
        out.append(time.perf_counter() - began)
    times.setdefault(task, {})[who] = statistics.median(out)


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def through_client(who, command):
    with serving(command) as p:
        timed("parse G1", who, lambda: h2o.import_file(path(G), destination_frame="g"))
        g = h2o.get_frame("g")

        def rows(frame):
            n = frame.nrow
            h2o.remove(frame.frame_id)
            return n

        by = lambda keys: g.group_by(keys)  # noqa: E731
        timed("q1 sum v1 by id1", who, lambda: rows(by("id1").sum("v1").get_frame()))
        timed("q2 sum v1 by id1, id2", who, lambda: rows(by(["id1", "id2"]).sum("v1").get_frame()))
        timed("q3 sum v1, mean v3 by id3", who, lambda: rows(by("id3").sum("v1").mean("v3").get_frame()))
        timed("q4 mean v1..v3 by id4", who, lambda: rows(by("id4").mean("v1").mean("v2").mean("v3").get_frame()))
        timed("q5 sum v1..v3 by id6", who, lambda: rows(by("id6").sum("v1").sum("v2").sum("v3").get_frame()))
        timed("sort by id6, v3", who, lambda: rows(g.sort(["id6", "v3"])))
        x, s, m, b = (h2o.import_file(path(f"{J}_{k}")) for k in ("x", "small", "medium", "big"))
        timed("join small", who, lambda: rows(x.merge(s, by_x=["id1"], by_y=["id1"])))
        timed("join medium", who, lambda: rows(x.merge(m, by_x=["id2"], by_y=["id2"])))
        timed("join big", who, lambda: rows(x.merge(b, by_x=["id3"], by_y=["id3"])))
        print(f"{who}: peak memory {memory(p.pid):.0f} MB", flush=True)


through_client("ochre", ochre("--max-mem", args.max_mem))

c = pl.col
timed("parse G1", "polars", lambda: pl.read_csv(path(G)))
g = pl.read_csv(path(G))
timed("q1 sum v1 by id1", "polars", lambda: g.group_by("id1").agg(c("v1").sum()))
timed("q2 sum v1 by id1, id2", "polars", lambda: g.group_by("id1", "id2").agg(c("v1").sum()))
timed("q3 sum v1, mean v3 by id3", "polars", lambda: g.group_by("id3").agg(c("v1").sum(), c("v3").mean()))
timed("q4 mean v1..v3 by id4", "polars", lambda: g.group_by("id4").agg(c("v1", "v2", "v3").mean()))
timed("q5 sum v1..v3 by id6", "polars", lambda: g.group_by("id6").agg(c("v1", "v2", "v3").sum()))
timed("sort by id6, v3", "polars", lambda: g.sort("id6", "v3"))
x, s, m, b = (pl.read_csv(path(f"{J}_{k}")) for k in ("x", "small", "medium", "big"))
timed("join small", "polars", lambda: x.join(s, on="id1"))
timed("join medium", "polars", lambda: x.join(m, on="id2"))
timed("join big", "polars", lambda: x.join(b, on="id3"))
del g, x, s, m, b

db = duckdb.connect()
load = lambda name, k: db.execute(f"create or replace table {name} as select * from read_csv('{path(k)}')")  # noqa: E731
timed("parse G1", "duckdb", lambda: load("g", G))
for k in ("x", "small", "medium", "big"):
    load(k, f"{J}_{k}")
ask = lambda sql: (lambda: db.execute(f"create or replace table answer as {sql}"))  # noqa: E731
timed("q1 sum v1 by id1", "duckdb", ask("select id1, sum(v1) from g group by 1"))
timed("q2 sum v1 by id1, id2", "duckdb", ask("select id1, id2, sum(v1) from g group by 1, 2"))
timed("q3 sum v1, mean v3 by id3", "duckdb", ask("select id3, sum(v1), avg(v3) from g group by 1"))
timed("q4 mean v1..v3 by id4", "duckdb", ask("select id4, avg(v1), avg(v2), avg(v3) from g group by 1"))
timed("q5 sum v1..v3 by id6", "duckdb", ask("select id6, sum(v1), sum(v2), sum(v3) from g group by 1"))
timed("sort by id6, v3", "duckdb", ask("select * from g order by id6, v3"))
for k, key in (("small", "id1"), ("medium", "id2"), ("big", "id3")):
    timed(f"join {k}", "duckdb", ask(f"select x.*, t.v2 from x join {k} t using ({key})"))

if not args.no_reference:
    through_client("reference", reference(args.max_mem))

who = ["ochre", "polars", "duckdb"] + (["reference"] if any("reference" in t for t in times.values()) else [])
print(f"{'seconds, medians of ' + str(args.runs):30}" + "".join(f"{w:>11}" for w in who) + "   ochre / Polars   reference / ochre")
for task, t in times.items():
    line = f"{task:30}" + "".join(f"{t[w]:11.3f}" for w in who) + f"{t['ochre'] / t['polars']:17.2f}"
    print(line + (f"{t['reference'] / t['ochre']:20.1f}" if "reference" in t else ""))
