"""The files under deploy/ say what they should: Kubernetes objects against the published schemas, the unit against systemd: deploy.py"""
import os
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def render(text, values):
    """The part of Helm's template language that our chart keeps to."""

    def value(word):
        if word == ".Release.Name":
            return "test"
        if word.startswith(".Values."):
            v = values
            for part in word.split(".")[2:]:
                v = v[part]
            return v
        return int(word)

    def one(match):
        words = match.group(1).split()
        if words[0] == "mul":
            return str(value(words[1]) * value(words[2]))
        if len(words) == 3 and words[1:] == ["|", "quote"]:
            return f'"{value(words[0])}"'
        assert len(words) == 1, f"the test does not know {match.group(0)}"
        return str(value(words[0]))

    def choice(match):
        return match.group(3) if value(match.group(1)) >= int(match.group(2)) else match.group(4)

    text = re.sub(r"\{\{ if ge \(int (\S+)\) (\d+) \}\}(.*?)\{\{ else \}\}(.*?)\{\{ end \}\}", choice, text)
    return re.sub(r"\{\{ (.*?) \}\}", one, text)


def helm():
    chart = os.path.join(ROOT, "deploy/helm/ochre")
    values = yaml.safe_load(open(f"{chart}/values.yaml"))
    assert yaml.safe_load(open(f"{chart}/Chart.yaml"))["apiVersion"] == "v2"
    if shutil.which("helm"):
        subprocess.run(["helm", "lint", "--strict", chart], check=True)
    objects = list(yaml.safe_load_all(render(open(f"{chart}/templates/cluster.yaml").read(), values)))
    kinds = []
    for o in objects:
        kubernetes_validate.validate(o, "1.28", strict=True)
        kinds.append(o["kind"])
    assert sorted(kinds) == ["PodDisruptionBudget", "Service", "Service", "StatefulSet"], kinds
    pod = objects[-1]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"] == "8Gi"
    flags = [a.split("=")[0] for a in container["args"]]
    known = subprocess.run([sys.argv[1], "serve", "--help"], capture_output=True, text=True).stdout
    assert all(f in known for f in flags), [f for f in flags if f not in known]
    print(f"Kubernetes: {len(objects)} objects are valid, every flag is one of the binary's")


def compose():
    doc = yaml.safe_load(open(os.path.join(ROOT, "deploy/compose/compose.yaml")))
    node = doc["services"]["node"]
    assert node["read_only"] and node["deploy"]["replicas"] == 3 and "--cluster-size 3" in node["command"][0]
    known = subprocess.run([sys.argv[1], "serve", "--help"], capture_output=True, text=True).stdout
    flags = re.findall(r"--[a-z-]+", node["command"][0])
    assert all(f in known for f in flags), flags
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        subprocess.run(["docker", "compose", "-f", os.path.join(ROOT, "deploy/compose/compose.yaml"), "config", "-q"], check=True)
    print("Compose: reads well, every flag is one of the binary's")


def systemd():
    unit = os.path.join(ROOT, "deploy/systemd/ochre.service")
    if not shutil.which("systemd-analyze"):
        print("systemd: no systemd-analyze here to ask")
        return
    out = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    complaints = [line for line in (out.stdout + out.stderr).splitlines() if "ochre.service" in line]
    assert not complaints, complaints
    print("systemd: the unit is valid")


helm()
compose()
systemd()
