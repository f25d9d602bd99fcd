"""Files of an object store, in and out, against a store of this script's own that checks every signature: objects.py OCHRE"""
import hashlib
import hmac
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import h2o
from h2o.estimators import H2OGeneralizedLinearEstimator

KEY, SECRET, OTHER = "AKOCHRE", "s3cret/of+ochre", ("AKOTHER", "another")
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "prostate.csv")
OBJECTS, UPLOADS, SEEN = {}, {}, []


def hashed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Store(http.server.BaseHTTPRequestHandler):
    """As much of the S3 protocol as a client of whole objects needs (AWS Signature Version 4; path-style addresses)."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(headers.pop("length", len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def is_signed(self, path, query):
        found = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)", self.headers.get("Authorization", ""))
        if not found:
            return False
        who, day, region, names, signature = found.groups()
        secret = {KEY: SECRET, OTHER[0]: OTHER[1]}.get(who, "")
        quote = lambda s: urllib.parse.quote(s, safe="-_.~")
        told = "&".join(sorted(f"{quote(k)}={quote(v)}" for k, v in query))
        headers = "".join(f"{n}:{' '.join(self.headers[n].split())}\n" for n in names.split(";"))
        request = "\n".join([self.command, path, told, headers, names, self.headers["x-amz-content-sha256"]])
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, hashlib.sha256(request.encode()).hexdigest()])
        key = hashed(hashed(hashed(hashed(("AWS4" + secret).encode(), day), region), "s3"), "aws4_request")
        return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signature)

    def serve(self):
        path, _, text = self.path.partition("?")
        query = urllib.parse.parse_qsl(text, keep_blank_values=True)
        asked = dict(query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        SEEN.append((self.command, path, asked, self.headers.get("Range")))
        if not self.is_signed(path, query):
            return self.answer(403, b"<Error><Code>SignatureDoesNotMatch</Code><Message>no such key, or not its signature</Message></Error>")
        bucket, _, name = urllib.parse.unquote(path).lstrip("/").partition("/")
        if bucket == "closed":
            return self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        if bucket != "lake":
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>")
        if self.command == "GET" and not name:
            return self.listing(asked)
        if self.command in ("GET", "HEAD"):
            return self.read(name)
        if self.command == "PUT" and "uploadId" in asked:
            UPLOADS[asked["uploadId"]][int(asked["partNumber"])] = body
            return self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        if self.command == "PUT":
            OBJECTS[name] = body
            return self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        if self.command == "POST" and "uploads" in asked:
            UPLOADS[str(len(UPLOADS))] = {}
            return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{len(UPLOADS) - 1}</UploadId></InitiateMultipartUploadResult>".encode())
        if self.command == "POST" and "uploadId" in asked:
            OBJECTS[name] = b"".join(part for _, part in sorted(UPLOADS.pop(asked["uploadId"]).items()))
            return self.answer(200, b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>')
        return self.answer(400)

    do_GET = do_HEAD = do_PUT = do_POST = serve

    def listing(self, asked):
        prefix, apart = asked.get("prefix", ""), asked.get("delimiter")
        names, folders = [], set()
        for name in sorted(n for n in OBJECTS if n.startswith(prefix)):
            if apart and apart in name[len(prefix):]:
                folders.add(prefix + name[len(prefix):].split(apart)[0] + apart)
            else:
                names.append(name)
        # Two at a time, so that the client has to ask again.
        first = int(asked.get("continuation-token", 0))
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{first + 2}</NextContinuationToken>" if len(names) > first + 2 else "<IsTruncated>false</IsTruncated>"
        rows = "".join(f"<Contents><Key>{n}</Key><Size>{len(OBJECTS[n])}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>" for n in names[first:first + 2])
        rows += "".join(f"<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>" for f in sorted(folders))
        self.answer(200, f"<ListBucketResult>{more}{rows}</ListBucketResult>".encode())

    def read(self, name):
        if name not in OBJECTS:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        whole = OBJECTS[name]
        about = {"ETag": f'"{hashlib.md5(whole).hexdigest()}"', "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        wanted = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if self.command == "HEAD" or not wanted:
            return self.answer(200, b"" if self.command == "HEAD" else whole, length=len(whole), **about)
        if self.headers.get("If-Match") not in (None, about["ETag"]):
            return self.answer(412)
        a, b = int(wanted[1]), min(int(wanted[2]), len(whole) - 1)
        self.answer(206, whole[a:b + 1], Content_Range=f"bytes {a}-{b}/{len(whole)}", **about)


def refused(work, *words):
    try:
        work()
    except Exception as e:  # whatever the client makes of it
        text = str(e)
        missing = [w for w in words if w not in text]
        assert not missing, f"the message lacks {missing}: {text}"
        return
    raise AssertionError("it was not refused")


def same(a, b):
    return h2o.as_list(a, use_pandas=False) == h2o.as_list(b, use_pandas=False)


def files_in(local):
    frame = h2o.import_file("s3://lake/in/prostate.csv")
    assert same(frame, local)
    assert same(h2o.import_file("s3a://lake/in/prostate.csv"), local)
    folder = h2o.import_file("s3://lake/parts")
    assert folder.nrow == 2 * local.nrow, folder.nrow
    assert h2o.import_file("s3://lake/parts/*-1.csv").nrow == local.nrow
    assert h2o.import_file("s3://lake/parts/", pattern=".*-0[.]csv").nrow == local.nrow
    assert h2o.import_file("s3://lake/odd/a b+ü.csv").nrow == local.nrow
    SEEN.clear()
    large = h2o.import_file("s3://lake/in/large.csv")
    assert large.nrow == 3_000_000 and large[0].sum() == sum(range(3_000_000)), large.nrow
    ranges = {r for c, p, _, r in SEEN if p.endswith("large.csv") and c == "GET"}
    assert len(ranges) == -(-len(OBJECTS["in/large.csv"]) // (8 << 20)) > 1, ranges
    typed = h2o.api("GET /3/Typeahead/files?src=s3://lake/in/&limit=10")["matches"]
    assert typed == ["s3://lake/in/large.csv", "s3://lake/in/prostate.csv"], typed
    assert h2o.api("GET /3/Typeahead/files?src=s3://lake/p&limit=10")["matches"] == ["s3://lake/parts"]


def files_out(local):
    h2o.export_file(local, "s3://lake/out/prostate.csv")
    assert same(h2o.import_file("s3://lake/out/prostate.csv"), local)
    refused(lambda: h2o.export_file(local, "s3://lake/out/prostate.csv"), "s3://lake/out/prostate.csv already exists", "force=True")
    h2o.export_file(local, "s3://lake/out/prostate.csv", force=True)
    h2o.export_file(local, "s3://lake/out/parts", format="parquet", parts=2)
    assert any(n.startswith("out/parts/part-") for n in OBJECTS), sorted(OBJECTS)
    assert same(h2o.import_file("s3://lake/out/parts"), local)
    large = h2o.import_file("s3://lake/in/large.csv")
    h2o.export_file(large, "s3://lake/out/large.csv")
    assert OBJECTS["out/large.csv"].split(b"\n")[1:] == OBJECTS["in/large.csv"].split(b"\n")[1:]
    local.save("s3://lake/frames")
    key, rows = local.frame_id, local.nrow
    h2o.remove(key)
    assert h2o.load_frame(key, "s3://lake/frames").nrow == rows
    model = H2OGeneralizedLinearEstimator(family="binomial")
    frame = h2o.import_file("s3://lake/in/prostate.csv")
    frame["CAPSULE"] = frame["CAPSULE"].asfactor()
    model.train(["AGE", "PSA"], "CAPSULE", frame)
    before = h2o.as_list(model.predict(frame), use_pandas=False)
    where = h2o.save_model(model, "s3://lake/models")
    refused(lambda: h2o.save_model(model, "s3://lake/models"), "exists already", "force")
    h2o.remove(model.model_id)
    assert h2o.as_list(h2o.load_model(where).predict(frame), use_pandas=False) == before
    mojo = h2o.get_model(model.model_id).save_mojo("s3://lake/mojos")
    assert h2o.as_list(h2o.import_mojo(mojo).predict(frame), use_pandas=False) == before


def mistakes():
    refused(lambda: h2o.import_file("s3://lake/absent.csv"), "s3://lake/absent.csv")
    refused(lambda: h2o.import_file("s3://closed/x.csv"), "s3://closed/x.csv", "403 Forbidden", "AWS_ACCESS_KEY_ID", "set_s3_credentials")
    refused(lambda: h2o.import_file("s3:///x.csv"), "names no bucket", "s3://BUCKET/KEY")
    refused(lambda: h2o.import_file("hdfs://a/x.csv"), "hdfs://")
    from h2o.persist import remove_s3_credentials, set_s3_credentials
    set_s3_credentials(KEY, "wrong")
    refused(lambda: h2o.import_file("s3://lake/in/prostate.csv"), "s3://lake/in/prostate.csv", "403 Forbidden")
    set_s3_credentials(*OTHER)
    assert h2o.import_file("s3://lake/in/prostate.csv").nrow == 380
    remove_s3_credentials()
    assert h2o.import_file("s3://lake/in/prostate.csv").nrow == 380
    log = h2o.api("GET /3/Logs/nodes/0/files/info")["log"]
    assert SECRET not in log and OTHER[1] not in log


def main():
    store = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=store.serve_forever, daemon=True).start()
    data = open(DATA, "rb").read()
    OBJECTS.update({"in/prostate.csv": data, "parts/p-0.csv": data, "parts/p-1.csv": data, "parts/.hidden": b"x", "odd/a b+ü.csv": data})
    OBJECTS["in/large.csv"] = ("n,text\n" + "".join(f'{i},"t{i % 7}"\n' for i in range(3_000_000))).encode()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as ice:
        mine = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        args = [sys.argv[1], "serve", "--port", str(port), "--ice-root", ice, "--max-mem", "2g"]
        start = lambda: subprocess.Popen(args, env={**os.environ, **mine}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = start()
        url = f"http://127.0.0.1:{port}"

        def wait():
            for _ in range(100):
                try:
                    return urllib.request.urlopen(url + "/3/Ping").read()
                except OSError:
                    time.sleep(0.05)

        try:
            wait()
            h2o.connect(url=url, verbose=False)
            h2o.no_progress()
            local = h2o.import_file(DATA)
            files_in(local)
            files_out(local)
            mistakes()
            # A server that is killed leaves its files; the next one clears them away.
            assert [n for n in os.listdir(ice) if n.startswith("ochre-scratch-")]
            h2o.import_file("s3://lake/in/prostate.csv", parse=False)
            left = {n for n in os.listdir(ice) if n.startswith("ochre-scratch-")}
            server.send_signal(signal.SIGKILL)
            server.wait()
            assert left <= set(os.listdir(ice))
            server = start()
            wait()
            for _ in range(100):
                if not left & set(os.listdir(ice)):
                    break
                time.sleep(0.05)
            assert not left & set(os.listdir(ice)), os.listdir(ice)
        finally:
            server.terminate()
            server.wait()
        assert not os.listdir(ice), os.listdir(ice)
    print("objects: 30 checks, all passed")


main()
