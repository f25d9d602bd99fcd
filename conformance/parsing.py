"""Small files whose dialect, header, types and values are guessed, compared with what the reference makes of them.

    parsing.py URL             compares with parsing.json; exits with 1 when a frame differs
    parsing.py URL --record    writes parsing.json from the answers (made from the reference server 3.46.0.11)
"""

import io
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDENS = os.path.join(HERE, "parsing.json")


def zipped(*texts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for i, text in enumerate(texts):
            z.writestr(f"part{i}.csv", text)
    return out.getvalue()


DAYS = "".join(f"{i},{'NA' if i < 30000 else 'N' + str(i % 70)}\n" for i in range(32000))

# name: (bytes of the file, what the user states)
FILES = {
    "quoted empty beside numbers": ('a,b,c\n"",x,1\n"1",y,2\n"3","",3\n4,"z",""\n', {}),
    "quoted empty in texts": ('s\n"hello"\n""\n"bye"\n"ciao"\n', {}),
    "empty lines": ('s\nhello\n\n""\nbye\nciao\nmore\n', {}),
    "mostly quoted empty": ('a,b\n"",1\n"",2\n"",3\n"1",4\n', {}),
    "nothing but quoted empty": ('a,b\n"",1\n"","2"\n', {}),
    "categories with both kinds of empty": ('a,b\nx,1\n"",2\nx,3\ny,4\n,5\nx,6\n', {}),
    "NA among categories": ('a,b\n"NA",1\nx,2\nNA,3\nx,4\ny,5\n', {}),
    "spaces at line ends": ("1 2 3 \n4 5 6 \n", {}),
    "spaces at line ends, texts": ("a: b. \nc: d. \ne: d. \n", {}),
    "commas at line ends": ("1,2,3,\n4,5,6,\n", {}),
    "header narrower than the data": ("a,b\n1,2,3\n4,5,6\n", {}),
    "a later line is wider": ("a,b\n1,2\n4,5,6\n1,1\n", {}),
    "carriage returns alone": ("a,b\r1,2\r3,4\r", {}),
    "carriage returns and line feeds": ("a,b\r\n1,2\r\n3,4\r\n", {}),
    "months in full": ("d\n3-January-2006\n15-July-2009\n30-September-2009\n", {}),
    "months cut otherwise": ("d\n3-Janu-2006\n15-Jul-2009\n30-sep-2009\n", {}),
    "uuids": ("u\n" + "".join(f"9ff4ed3a-6b00-4130-9aca-2ed897305fd{i}\n" for i in range(3)), {}),
    "numbers only": ("0,0,1\n0,1,2\n1,2,3\n", {}),
    "values come late": ("n,d\n" + DAYS, {}),
    "escape of the user's": ("id,t\n1,'row *'1*' ok'\n2,'row *'2*' ok'\n3,'x'\n", {"single_quotes": "true", "escapechar": 42}),
    "escape outside of quotes": ("id,t\n1,row *'1*' ok\n2,row *'2*' ok\n3,x\n", {"escapechar": 42}),
    "several files in an archive": (zipped("a,b\n1,x\n2,x\n3,y\n", "a,b\n3,x\n4,y\n"), {}),
    "several files in an archive, no header": (zipped("1,x\n2,y\n2,y\n", "3,x\n4,y\n1,x\n"), {}),
    "a header in the second file only": (zipped("1,x\n2,y\n2,x\n", "a,b\n3,x\n4,y\n"), {}),
}


class Server:
    def __init__(self, url):
        self.url = url

    def ask(self, method, path, form=None, body=None, kind=None):
        data = urllib.parse.urlencode(form).encode() if form is not None else body
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind} if kind else {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as r:
                return json.load(r)
        except urllib.error.HTTPError as e:
            return {"error": e.code}

    def frame(self, n, name, content, stated):
        raw, key = f"parsing{n}.{'zip' if isinstance(content, bytes) else 'csv'}", f"parsing{n}.hex"
        content = content if isinstance(content, bytes) else content.encode()
        body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + content + b"\r\n--b--\r\n"
        self.ask("POST", f"/3/PostFile?destination_frame={raw}", body=body, kind="multipart/form-data; boundary=b")
        setup = self.ask("POST", "/3/ParseSetup", {"source_frames": f'["{raw}"]', **stated})
        if "error" in setup:
            return setup
        as_list = lambda v: json.dumps(v) if v is not None else "[]"  # noqa: E731
        job = self.ask("POST", "/3/Parse", {
            "destination_frame": key, "source_frames": f'["{raw}"]', "parse_type": setup["parse_type"], "separator": setup["separator"],
            "number_columns": setup["number_columns"], "single_quotes": str(setup["single_quotes"]).lower(),
            "column_names": as_list(setup["column_names"]), "column_types": as_list(setup["column_types"]),
            "check_header": setup["check_header"], "delete_on_done": "true", "chunk_size": setup["chunk_size"], "blocking": "true",
            "na_strings": as_list(setup["na_strings"]), "escapechar": setup["escapechar"] or 0,
        })
        if "error" in job:
            return job
        while True:
            state = self.ask("GET", "/3/Jobs/" + urllib.parse.quote(job["job"]["key"]["name"], safe=""))["jobs"][0]
            if state["status"] not in ("CREATED", "RUNNING"):
                break
        if state["status"] != "DONE":
            return {"error": state["status"]}
        frame = self.ask("GET", f"/3/Frames/{key}?row_count=12")["frames"][0]
        self.ask("DELETE", f"/3/Frames/{key}")
        columns = []
        for c in frame["columns"]:
            values = c["string_data"] if c["type"] in ("string", "uuid") and c.get("string_data") else c["data"]
            columns.append({k: c[k] for k in ("label", "type", "missing_count", "domain")} | {"values": values})
        return {"rows": frame["rows"], "columns": columns}


def main():
    server = Server(sys.argv[1])
    got = {name: server.frame(n, name, *file) for n, (name, file) in enumerate(FILES.items())}
    if "--record" in sys.argv:
        with open(GOLDENS, "w") as f:
            f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in got.items()) + "\n}\n")
        print(f"{len(got)} frames recorded")
        return 0
    with open(GOLDENS) as f:
        want = json.load(f)
    bad = [name for name in FILES if got[name] != want.get(name)]
    for name in bad:
        print(f"{name}\n   reference {json.dumps(want.get(name))[:700]}\n   ochre     {json.dumps(got[name])[:700]}")
    print(f"parsing: {len(got) - len(bad)} of {len(got)} files are read as the reference reads them")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
