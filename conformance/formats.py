"""Files of several formats, written and read back: formats.py URL"""
import bz2
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request

import h2o

HERE = os.path.dirname(os.path.abspath(__file__))


def same(a, b, what):
    assert a.names == b.names and a.types == b.types, f"{what}: {a.types} became {b.types}"
    x, y = (f.as_data_frame(use_pandas=False) for f in (a, b))
    assert x == y, f"{what}: values differ, first in row {next(i for i, p in enumerate(zip(x, y)) if p[0] != p[1])}"


def arrow(f, work):
    """There and back as Arrow, and saved and loaded; what is no Arrow is told."""
    at = f"{sys.argv[1]}/3/Frames/{f.frame_id}.arrow"
    with urllib.request.urlopen(at) as r:
        assert r.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
        stream = r.read()

    def post(data):
        request = urllib.request.Request(f"{sys.argv[1]}/3/PostFrame.arrow?destination_frame=back", data=data)
        request.add_header("Content-Type", "application/vnd.apache.arrow.stream")
        with urllib.request.urlopen(request) as r:
            return json.load(r)

    assert post(stream) == {"destination_frame": "back", "rows": f.nrow}
    same(f, h2o.get_frame("back"), "arrow stream")
    for bad in (b"", b"no arrow at all", stream[: len(stream) // 2], b"ARROW1" + stream):
        try:
            post(bad)
            raise AssertionError("what is no Arrow was taken")
        except urllib.error.HTTPError as e:
            assert e.code < 500 and "Arrow" in json.load(e)["msg"], e.code
    f.save(work)
    loaded = h2o.load_frame(f.frame_id, work)
    same(h2o.get_frame("back"), loaded, "a saved frame")
    try:
        h2o.load_frame("never", work)
        raise AssertionError("a frame that was never saved was loaded")
    except h2o.exceptions.H2OResponseError as e:
        assert "no frame 'never' was saved there" in str(e), e
    h2o.remove("back")
    return 2


def main():
    h2o.connect(url=sys.argv[1], verbose=False)
    h2o.no_progress()
    done = 0
    with tempfile.TemporaryDirectory() as work:
        f = h2o.import_file(os.path.join(HERE, "data", "prostate.csv"))
        f["RACE"] = f["RACE"].asfactor()
        f["hole"] = (f["ID"] % 5 == 0).ifelse(float("nan"), f["PSA"])
        f["word"] = f["AGE"].ascharacter()
        for name, options in {
            "one.parquet": dict(format="parquet"), "packed.parquet": dict(format="parquet", compression="gzip"),
            "several": dict(format="parquet", parts=2), "dir": dict(format="parquet"),
        }.items():
            path = os.path.join(work, name)
            h2o.export_file(f, path, **options)
            back = h2o.import_file(path, col_types={"RACE": "enum", "word": "string"})
            same(f, back, name)
            done += 1
        done += arrow(f, work)
        done += arrow(h2o.create_frame(rows=70_000, cols=12, time_fraction=0.2, string_fraction=0.2, categorical_fraction=0.2, integer_fraction=0.2,
                                       binary_fraction=0.1, missing_fraction=0.1, seed=2), work)
        some = h2o.import_file(os.path.join(work, "one.parquet"), skipped_columns=[0, 2])
        assert some.names == [n for i, n in enumerate(f.names) if i not in (0, 2)], some.names
        text = b"x,y\n1,a\n2,b\n"
        # One block that is stored as it is.
        zstd = b"\x28\xb5\x2f\xfd" + bytes([0x20, len(text)]) + (len(text) << 3 | 1).to_bytes(3, "little") + text
        for name, packed in (("t.csv.bz2", bz2.compress(text)), ("t.csv.zst", zstd)):
            with open(os.path.join(work, name), "wb") as out:
                out.write(packed)
            t = h2o.import_file(os.path.join(work, name))
            assert t.as_data_frame(use_pandas=False) == [["x", "y"], ["1", "a"], ["2", "b"]], (name, t.as_data_frame(use_pandas=False))
            done += 1
        for name in ("types.orc", "types.avro"):
            t = h2o.import_file(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", name))
            assert t.nrow == 300 and t.types == {"i": "int", "x": "real", "c": "enum", "t": "string", "b": "enum", "day": "time", "at": "time"}, t.types
            got = [r for r in t.as_data_frame(use_pandas=False)[1:]]
            for r in (0, 1, 14, 143, 299):
                day, at = 1577836800000 + 86400000 * r, 1614834367000 + 3600000 * r
                want = ["" if r % 7 == 0 else str(r - 50), "" if r % 11 == 0 else str(r / 8), "" if r % 13 == 0 else "abc"[r % 3] * 2, f"text {r}",
                        "True" if r % 2 == 0 else "False", str(day), str(at)]
                assert got[r] == want, (name, got[r], want)
            path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", name)
            if name.endswith(".avro"):
                try:
                    h2o.import_file(path, skipped_columns=[0, 3])
                    raise AssertionError("columns of an Avro file were skipped; the reference refuses this")
                except h2o.exceptions.H2OResponseError as e:
                    assert "skipped_columns are not supported" in str(e), e
                assert h2o.import_file(path, col_types={"c": "string"}).types["c"] == "string"
            else:
                some = h2o.import_file(path, skipped_columns=[0, 3], col_types={"c": "string"})
                assert some.names == ["x", "c", "b", "day", "at"] and some.types["c"] == "string", some.types
            done += 1
        for y in (2, 10, 1):
            for k in ("u", "v w"):
                place = os.path.join(work, "parts", f"y={y}", f"k={k}")
                os.makedirs(place)
                with open(os.path.join(place, "a.csv"), "w") as out:
                    out.write(f"a,b\n{y},q\n3,r\n")
        t = h2o.import_file(os.path.join(work, "parts"), partition_by=["y", "k"])
        rows = sorted(t.as_data_frame(use_pandas=False)[1:])
        assert t.names == ["a", "b", "y", "k"] and t.types["b"] == "enum" and t["y"].levels() == [["1", "10", "2"]], (t.names, t["y"].levels())
        assert rows == sorted(r for y in "2 10 1".split() for k in ("u", "v w") for r in ([y, "q", y, k], ["3", "r", y, k])), rows
        done += 1
        arff = os.path.join(work, "a.arff")
        with open(arff, "w") as out:
            out.write("@relation t\n@attribute x numeric\n@attribute 'a b' {u, 'v w'}\n@data\n1,u\n?,'v w'\n3,?\n")
        a = h2o.import_file(arff)
        assert a.types == {"x": "int", "a b": "enum"} and a["a b"].levels() == [["u", "v w"]], (a.types, a["a b"].levels())
        assert a.as_data_frame(use_pandas=False, header=False) == [["1", "u"], ["", "v w"], ["3", ""]]
        svm = os.path.join(work, "s.svm")
        with open(svm, "w") as out:
            out.write("1 1:0.5 3:2\n-1 2:4\n")
        s = h2o.import_file(svm)
        assert s.as_data_frame(use_pandas=False, header=False) == [["1", "0.5", "0", "2"], ["-1", "0.0", "4", "0"]], \
            s.as_data_frame(use_pandas=False, header=False)
        done += 3
    print(f"formats: {done} files written and read back")


main()
