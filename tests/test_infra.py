"""Clusters and their image, as far as files can be wrong without a cloud."""

import importlib.metadata
import json
import re
import shlex
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from forecast.config import Run
from forecast.settings import read_settings

ROOT = Path(__file__).resolve().parents[1]
INFRA = ROOT / "infra"
CLUSTERS = ("cluster.yaml", "raycluster.yaml", "rayjob.yaml")
SAVING = 20  # s
OBJECT_STORE = 0.3  # of the memory, by Ray's default

# What the types of ray.io/v1 have fields for. The API server drops others and says little.
JOB = """activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint
    entrypointNumCpus entrypointNumGpus entrypointResources jobId managedBy metadata
    preRunningDeadlineSeconds rayClusterSpec runtimeEnvYAML shutdownAfterJobFinishes submissionMode
    submitterConfig submitterPodTemplate suspend ttlSecondsAfterFinished"""
CLUSTER = """authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions
    headGroupSpec headServiceAnnotations managedBy rayVersion suspend upgradeStrategy
    workerGroupSpecs"""
HEAD = "enableIngress headService labels rayStartParams resources serviceType template"
WORKERS = """groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts rayStartParams
    replicas resources scaleStrategy suspend template"""


@cache
def loaded(name: str) -> dict[str, Any]:
    return yaml.safe_load((INFRA / name).read_text())


def ray_installed(path: str) -> str:
    """A file that came with the installed Ray, which need not be imported for it."""
    return Path(str(importlib.metadata.distribution("ray").locate_file(path))).read_text()


def comment(name: str) -> str:
    """The comment that a file begins with, continued lines in one."""
    lines = re.match(r"(#.*\n)+", (INFRA / name).read_text())
    assert lines
    return re.sub(r"\\\n", " ", re.sub(r"^# ?", "", lines[0], flags=re.MULTILINE))


def node(name: str) -> dict[str, Any]:
    """A type of node of the cluster launcher's."""
    return loaded("cluster.yaml")["available_node_types"][name]


def ray_cluster() -> dict[str, Any]:
    """KubeRay's cluster; `rayjob.yaml` repeats it."""
    return loaded("raycluster.yaml")["spec"]


def workers() -> dict[str, Any]:
    """Its only group of workers."""
    (group,) = ray_cluster()["workerGroupSpecs"]
    return group


def pods() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Specification and only container of the head, then of a worker."""
    found = []
    for group in (ray_cluster()["headGroupSpec"], workers()):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        found.append((pod, container))
    return found


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def quantity(text: str) -> float:
    """A resource of Kubernetes as a number."""
    found = re.fullmatch(r"(\d+)(m|Mi|Gi|)", text)
    assert found
    return int(found[1]) * {"m": 1e-3, "Mi": 2**20, "Gi": 2**30, "": 1}[found[2]]


@cache
def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines in one."""
    text = re.sub(r"^#.*\n", "", (INFRA / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line]


def instructions(name: str) -> list[str]:
    return [arguments for instruction, arguments in dockerfile() if instruction == name]


def found_in_runs(pattern: str) -> str:
    """The only match of a pattern's group in what the image runs."""
    (found,) = re.findall(pattern, "\n".join(instructions("RUN")))
    return found


def environment() -> dict[str, str]:
    """What the image's ENV sets."""
    words = [word for line in instructions("ENV") for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def trained(name: str) -> Run:
    """The run that a cluster is given: its job's entry point, or what its comment submits."""
    entrypoint, folder = loaded(name).get("spec", {}).get("entrypoint"), ""
    if entrypoint:  # the job has the image's files, what is submitted those of the repository
        folder = f"{instructions('WORKDIR')[-1]}/"
    command = entrypoint or re.findall(r"python -m forecast\.train .*", comment(name))[0]
    python, module, verb, *arguments = shlex.split(command)
    assert (python, module, verb) == ("python", "-m", "forecast.train")
    config = arguments.index("--config") + 1
    assert arguments[config].startswith(folder)
    arguments[config] = str(ROOT / arguments[config].removeprefix(folder))
    return read_settings(Run, arguments, "verb")


def test_launcher_file_fits_the_schema_of_the_installed_ray():
    schema = json.loads(ray_installed("ray/autoscaler/ray-schema.json"))
    jsonschema.validate(loaded("cluster.yaml"), schema)


def test_launcher_takes_no_command_from_its_defaults():
    """They install another Ray beside the image's."""
    defaults = yaml.safe_load(ray_installed("ray/autoscaler/gcp/defaults.yaml"))
    commands = {key for key in defaults if key.endswith("_commands")}
    assert len(commands) == 6
    assert commands <= set(loaded("cluster.yaml"))


def test_launched_workers_are_spot_gpus_that_come_and_go():
    cluster, gpu = loaded("cluster.yaml"), node("gpu")
    assert set(cluster["available_node_types"]) == {"head", "gpu"}
    assert 0 == gpu["min_workers"] < gpu["max_workers"] <= cluster["max_workers"]
    assert gpu["resources"]["GPU"] > 0
    scheduling = gpu["node_config"]["scheduling"]
    assert scheduling["provisioningModel"] == "SPOT"
    assert scheduling["onHostMaintenance"] == "TERMINATE"
    assert "--env NVIDIA_VISIBLE_DEVICES=all" in cluster["docker"]["worker_run_options"]


def test_kuberay_workers_are_spot_gpus_that_come_and_go():
    assert ray_cluster()["enableInTreeAutoscaling"] is True
    assert 0 == workers()["minReplicas"] <= workers()["replicas"] < workers()["maxReplicas"]
    _, (pod, container) = pods()
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert "cloud.google.com/gke-accelerator" in pod["nodeSelector"]
    tolerated = {toleration["key"] for toleration in pod["tolerations"]}
    assert tolerated == {"cloud.google.com/gke-spot", "nvidia.com/gpu"}
    assert quantity(container["resources"]["limits"]["nvidia.com/gpu"]) > 0


def test_heads_stay_and_leave_the_work_to_workers():
    assert loaded("cluster.yaml")["head_node_type"] == "head"
    assert node("head")["resources"] == {"CPU": 0}
    assert "scheduling" not in node("head")["node_config"]
    assert ray_cluster()["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (pod, container), _ = pods()
    assert not {"nodeSelector", "tolerations"} & set(pod)
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_clusters_are_of_one_size_and_patience():
    assert workers()["maxReplicas"] == node("gpu")["max_workers"]
    limits = pods()[1][1]["resources"]["limits"]
    assert quantity(limits["nvidia.com/gpu"]) == node("gpu")["resources"]["GPU"]
    assert quantity(limits["cpu"]) <= node("gpu")["resources"]["CPU"]
    idle = ray_cluster()["autoscalerOptions"]["idleTimeoutSeconds"]
    assert idle == loaded("cluster.yaml")["idle_timeout_minutes"] * 60


def test_manifests_have_kuberays_fields_only():
    for name, kind in (("raycluster.yaml", "RayCluster"), ("rayjob.yaml", "RayJob")):
        manifest = loaded(name)
        assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
        assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,46}", manifest["metadata"]["name"])
    head = ray_cluster()["headGroupSpec"]
    assert set(loaded("rayjob.yaml")["spec"]) <= set(JOB.split())
    assert set(ray_cluster()) <= set(CLUSTER.split())
    assert {"rayStartParams", "template"} <= set(head) <= set(HEAD.split())
    assert {"rayStartParams", "groupName"} <= set(workers()) <= set(WORKERS.split())
    for group in (head, workers()):
        # options of `ray start`; the API server refuses numbers
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_job_repeats_the_cluster_and_takes_it_down():
    job = loaded("rayjob.yaml")["spec"]
    assert job["rayClusterSpec"] == ray_cluster()
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True
    assert job["ttlSecondsAfterFinished"] > 0


def test_pods_ask_for_no_more_than_their_limits():
    for _, container in pods():
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(requests) == set(limits)
        assert all(quantity(requests[name]) <= quantity(limits[name]) for name in requests)


def test_pods_hold_the_object_store_in_memory():
    for pod, container in pods():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert set(mounts.values()) == set(volumes)
        shared = volumes[mounts["/dev/shm"]]["emptyDir"]
        memory = quantity(container["resources"]["limits"]["memory"])
        assert shared["medium"] == "Memory"
        assert OBJECT_STORE * memory <= quantity(shared["sizeLimit"]) < memory


def test_a_stopped_worker_has_time_to_save():
    pod, container = pods()[1]
    drain = float(environment_of(container)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert pod["terminationGracePeriodSeconds"] >= max(60, drain + SAVING)


def test_every_node_demands_the_token():
    cluster, options = loaded("cluster.yaml"), ray_cluster()["authOptions"]
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    token = f"{environment()['HOME']}/.ray/auth_token"
    assert cluster["file_mounts"] == {token: "~/.ray/auth_token"}
    assert options["mode"] == "token"
    assert f"create secret generic {options['secretName']} " in comment("raycluster.yaml")
    assert "--from-literal auth_token=" in comment("raycluster.yaml")


def test_workers_meet_on_a_named_interface():
    for _, container in pods():
        names = environment_of(container)
        assert names["GLOO_SOCKET_IFNAME"] == names["NCCL_SOCKET_IFNAME"] == "eth0"
    options = " ".join(loaded("cluster.yaml")["docker"]["run_options"])
    assert re.search(r"--env GLOO_SOCKET_IFNAME=\w+ --env NCCL_SOCKET_IFNAME=\S+", options)


def test_one_image_and_one_ray():
    images = {container["image"] for _, container in pods()}
    (image,) = images | {loaded("cluster.yaml")["docker"]["image"]}
    assert image.rpartition(":")[2] == project()["project"]["version"]
    pinned = re.findall(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert [ray_cluster()["rayVersion"]] == pinned


@pytest.mark.parametrize("name", CLUSTERS)
def test_nothing_names_a_project_a_bucket_or_a_host(name):
    text, values = (INFRA / name).read_text(), json.dumps(loaded(name))
    for place in ("PROJECT_ID", "BUCKET"):
        assert place in values
        assert place in comment(name)
    projects = re.findall(r"pkg\.dev/([^/]+)/|@([^.]+)\.iam\.|\"project_id\": \"(.*?)\"", values)
    assert {name for names in projects for name in names if name} == {"PROJECT_ID"}
    assert set(re.findall(r"gs://(\w+)", text)) <= {"BUCKET"}
    assert set(re.findall(r"\d+\.\d+\.\d+\.\d+", text)) <= {"0.0.0.0", "127.0.0.1"}


@pytest.mark.parametrize("name", CLUSTERS)
def test_training_is_as_configurations_take_it_and_fills_the_cluster(name):
    train = trained(name).train
    assert train.gpu
    assert train.workers == node("gpu")["max_workers"] * node("gpu")["resources"]["GPU"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_runs_lie_in_the_bucket(name):
    root, user = trained(name).root, instructions("USER")[-1]
    if name == "cluster.yaml":
        assert f"--volume {root}:{root}" in loaded(name)["docker"]["run_options"]
        mount = loaded(name)["initialization_commands"][-1]
        assert re.search(rf"--uid {user} .*--metadata-cache-ttl-secs 0 BUCKET {root};", mount)
        assert node("gpu")["node_config"]["serviceAccounts"]
        return
    for pod, container in pods():
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        attributes = volumes[mounts[root]]["csi"]["volumeAttributes"]
        assert attributes["bucketName"] == "BUCKET"
        options = attributes["mountOptions"].split(",")
        assert {f"uid={user}", "metadata-cache:ttl-secs:0"} <= set(options)
        assert f"create serviceaccount {pod['serviceAccountName']} " in comment("raycluster.yaml")
    for group in (ray_cluster()["headGroupSpec"], workers()):
        assert group["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"


def test_image_has_a_python_that_the_project_takes():
    (base,) = instructions("FROM")
    version = re.fullmatch(r"python:(\d+\.\d+)-slim-\w+", base)
    assert version
    assert version[1] in SpecifierSet(project()["project"]["requires-python"])


def test_the_images_python_is_first_on_the_path_of_every_shell():
    path = found_in_runs(r"python -m venv (\S+)") + "/bin:$PATH"
    assert environment()["PATH"] == path
    assert found_in_runs(r'echo "PATH=(.*)" > /etc/profile\.d/\w+\.sh') == path.replace("$", r"\$")
    arguments = [arguments for _, arguments in dockerfile()]
    (first, *_) = [n for n, line in enumerate(arguments) if "pip install" in line]
    assert arguments.index(f"PATH={path}") < first


def test_the_images_user_is_a_number_and_not_roots():
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*", user)
    account = found_in_runs(r"useradd ([^&\n]*)")
    assert f"--uid {user} " in account
    assert environment()["HOME"] == f"/home/{account.split()[-1]}"
    assert all(container["securityContext"]["runAsNonRoot"] for _, container in pods())


def test_image_holds_the_repository_under_its_constraints():
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []
    packages = project()["tool"]["setuptools"]["packages"]["find"]["include"]
    needed = {package.removesuffix("*") for package in packages}
    assert needed | {"pyproject.toml", "constraints.txt", "README.md"} <= copied
    dependencies, code = (line for line in instructions("RUN") if "pip install" in line)
    assert "--constraint constraints.txt" in dependencies
    assert "--no-deps" in code


def test_image_brings_what_launcher_and_kuberay_call_and_no_command():
    packages = found_in_runs(r"apt-get install ([^&\n]*)").split()
    assert {"openssh-client", "rsync", "wget"} <= set(packages)
    assert instructions("ENTRYPOINT") == []
    assert [json.loads(line) for line in instructions("CMD")] == [["bash"]]


def test_commands_are_of_the_shells_syntax():
    cluster = loaded("cluster.yaml")
    commands = [line for key in cluster if key.endswith("_commands") for line in cluster[key]]
    for command in (*commands, *instructions("RUN")):
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
