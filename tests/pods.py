"""What the chart makes, run without a cluster: a pod becomes a container as kubelet and containerd would make it.

with Cluster("postroad-pods-1a2b3c", objects, image="postroad:latest", network="internet", dns=["172.18.0.2"]) as cluster:
    pod = cluster.start("postroad-0")
    pod.await_ready()
    pod.terminate()

Every field of a pod that this file does not know is an error, so none is passed over.
"""

import base64
import copy
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.internet.internet import TREE

Object = Mapping[str, Any]

FROM_THE_CLUSTER = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
}
"""What kubelet sets in every container, ``enableServiceLinks`` or not."""

OPENSHIFT = {"runAsUser": 1000650000, "runAsGroup": 0, "fsGroup": 1000650000}
"""What OpenShift's restricted SCC sets in a pod that names no ids."""

SCHEDULER_S = frozenset({
    "topologySpreadConstraints", "nodeSelector", "tolerations", "affinity", "priorityClassName",
})  # fmt: skip
API_S = frozenset({"automountServiceAccountToken", "serviceAccountName", "imagePullSecrets"})
"""Fields that another part of the cluster acts on. No token is asked for; the image is here."""


def docker(*words: str, check: bool = True, stdin: str = "", timeout: float = 120) -> str:
    """Run docker; return what it printed.

    Raises:
        RuntimeError: it failed; says why.
    """
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(words[:4])} … failed ({done.returncode}): {done.stderr}{done.stdout}")
    return done.stdout.strip()


class Fields:
    """A mapping of the pod, of which every field has to be taken."""

    def __init__(self, path: str, fields: Object) -> None:
        self._path, self._left = path, dict(fields)

    def take(self, name: str, default: Any = None) -> Any:
        """The field's value."""
        return self._left.pop(name, default)

    def done(self, ignored: Iterable[str] = ()) -> None:
        """Raise AssertionError if a field is left that nobody took."""
        assert not set(self._left) - set(ignored), f"{self._path}: tests/pods.py does not know {sorted(self._left)}"


class Cluster:
    """Objects of one namespace, what they need on this machine, and the pods that run."""

    def __init__(
        self,
        name: str,
        objects: Iterable[Object],
        *,
        image: str,
        network: str,
        dns: Sequence[str],
        openshift: bool = False,
    ) -> None:
        self.name, self.image, self.network, self.dns, self.openshift = name, image, network, dns, openshift
        self.objects: dict[tuple[str, str], Object] = {}
        self.apply(objects)
        self.pods: list[Pod] = []
        self.volumes: set[str] = set()
        self.written = 0
        self.names: dict[str, str] = {}
        """Names of Services, and the address behind each."""
        self.folder = Path(tempfile.mkdtemp(prefix="postroad-pods-"))
        self.folder.chmod(0o755)

    def apply(self, objects: Iterable[Object]) -> None:
        """Take these in place of those of the same kind and name."""
        self.objects |= {(each["kind"], each["metadata"]["name"]): each for each in objects}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind:
            for pod in self.pods:
                sys.stderr.write(f"--- {pod.name}\n{pod.log()[-4000:]}\n")  # part of a failed test's report
        for pod in self.pods:
            docker("rm", "--force", "--volumes", pod.container, check=False)
        for volume in self.volumes:
            docker("volume", "rm", "--force", volume, check=False)
        shutil.rmtree(self.folder)

    def find(self, kind: str, name: str) -> Object:
        """An object.

        Raises:
            KeyError: there is none.
        """
        return self.objects[kind, name]

    def start(self, name: str) -> "Pod":
        """Run a pod of a StatefulSet, or one that stands by itself. Its claims' volumes are found again by its name."""
        if ("Pod", name) in self.objects:
            pod = Pod(self, name, self.find("Pod", name)["spec"], {})
        else:
            owner = self.find("StatefulSet", name.rpartition("-")[0])["spec"]
            claims = {each["metadata"]["name"]: each for each in owner["volumeClaimTemplates"]}
            pod = Pod(self, name, owner["template"]["spec"], claims)
        self.pods.append(pod)
        pod.run()
        return pod

    def files(self, name: str, contents: Mapping[str, bytes], mode: int, group: int | None) -> Path:
        """A folder as kubelet mounts ConfigMaps and Secrets: links to links, and with ``fsGroup`` its group's."""
        folder = self.folder / name
        self.written += 1
        data = folder / f"..{self.written}"
        data.mkdir(parents=True)
        for path in (folder, data):
            path.chmod(0o755)
        for file, content in contents.items():
            target = data / file
            target.write_bytes(content)
            target.chmod(mode | (0o440 if group is not None else 0))
            if not (folder / file).is_symlink():
                (folder / file).symlink_to(f"..data/{file}")
        if group is not None:
            self.as_root(f"{folder}:/v", f"chgrp {group} /v/{data.name}/*")
        (folder / "..new").symlink_to(data.name)
        (folder / "..new").replace(folder / "..data")  # all of them at once
        return folder

    def as_root(self, mount: str, script: str) -> None:
        """Run a script as root in a container that has this mounted: tests need no root here."""
        words = ["--user=0", "--network=none", f"--volume={mount}", "--entrypoint=sh"]
        docker("run", "--rm", *words, self.image, "-c", script)

    def claim(self, name: str, group: int | None) -> str:
        """A volume as a new disk is: root's, with a folder ``lost+found``, and with ``fsGroup`` its group's."""
        volume = f"{self.name}-{name}"
        if volume not in self.volumes:
            self.volumes.add(volume)
            docker("volume", "create", *labels(), volume)
            script = "mkdir -m 0700 /v/lost+found && chmod 0755 /v"
            if group is not None:
                script += f" && chgrp {group} /v && chmod 2775 /v"
            self.as_root(f"{volume}:/v:nocopy", script)
        return volume


def labels() -> list[str]:
    return [f"--label={name}={value}" for name, value in TREE.items()]


class Pod:
    """A pod's container."""

    def __init__(self, cluster: Cluster, name: str, spec: Object, claims: Mapping[str, Object]) -> None:
        self.cluster, self.name, self.claims = cluster, name, claims
        self.container = f"{cluster.name}-{name}"
        fields = Fields("pod", copy.deepcopy(dict(spec)))
        (container,) = fields.take("containers")
        self.container_fields = Fields("container", container)
        self.grace = int(fields.take("terminationGracePeriodSeconds", 30))
        self.restarts = fields.take("restartPolicy", "Always") == "Always"
        self.dns_options = fields.take("dnsConfig", {}).get("options", [])
        self.security = Fields("pod.securityContext", self._security(fields.take("securityContext", {})))
        self.volumes = {each["name"]: each for each in fields.take("volumes", [])}
        assert fields.take("enableServiceLinks", True) is False
        fields.done(SCHEDULER_S | API_S)
        self.probes = {
            kind: self.container_fields.take(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")
        }
        self.pre_stop = Fields("lifecycle", self.container_fields.take("lifecycle", {})).take("preStop")
        self.secrets: dict[str, tuple[str, int, int | None]] = {}
        """The volume of each Secret, its mode, and its group."""
        self.event = ""
        """What a preStop hook that failed said; kubelet tells in an event, FailedPreStopHook, that it did."""

    def _security(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**given, **OPENSHIFT} if self.cluster.openshift else dict(given)

    def run(self) -> None:
        """Start the container with what the pod says and nothing else."""
        docker("rm", "--force", self.container, check=False)
        docker("run", "--detach", f"--name={self.container}", f"--hostname={self.name}", *self._options())

    def _options(self) -> list[str]:
        take = self.container_fields.take
        take("name"), take("ports"), take("imagePullPolicy"), take("terminationMessagePolicy")
        take("image")  # the one under test
        group = self.security.take("fsGroup")
        options = [*labels(), f"--network={self.cluster.network}", *self._ids(group), *self._sandbox()]
        options += [f"--dns={each}" for each in self.cluster.dns]
        options += [f"--add-host={name}:{address}" for name, address in self.cluster.names.items()]
        options += [f"--dns-option={each['name']}:{each['value']}" for each in self.dns_options]
        options += [f"--env={name}={value}" for name, value in FROM_THE_CLUSTER.items()]
        options += [f"--env={self._variable(each)}" for each in take("env", [])]
        limits = take("resources", {}).get("limits", {})
        if "memory" in limits:
            options.append(f"--memory={limits.pop('memory').removesuffix('i').lower()}")
        assert not limits, limits
        for mount in take("volumeMounts", []):
            options += self._mount(Fields("volumeMount", mount), group)
        command, arguments = take("command", []), take("args", [])
        if command:
            options.append(f"--entrypoint={command[0]}")
        self.security.take("fsGroupChangePolicy")
        self.security.done()
        self.container_fields.done()
        return [*options, self.cluster.image, *command[1:], *arguments]

    def _ids(self, group: int | None) -> list[str]:
        user, primary = self.security.take("runAsUser"), self.security.take("runAsGroup", 0)
        assert self.security.take("runAsNonRoot") is True
        assert user, "the cluster would have to choose one"
        return [f"--user={user}:{primary}", *([f"--group-add={group}"] if group is not None else [])]

    def _sandbox(self) -> list[str]:
        """Rights. Docker opens every port to every user and other runtimes do not, so this is set back."""
        assert self.security.take("seccompProfile") == {"type": "RuntimeDefault"}  # Docker has its own likewise
        sysctls = {"net.ipv4.ip_unprivileged_port_start": "1024"}
        sysctls |= {each["name"]: each["value"] for each in self.security.take("sysctls", [])}
        own = Fields("container.securityContext", self.container_fields.take("securityContext"))
        capabilities = own.take("capabilities")
        options = [f"--sysctl={name}={value}" for name, value in sysctls.items()]
        options += [f"--cap-drop={each}" for each in capabilities["drop"]]
        options += [f"--cap-add={each}" for each in capabilities.get("add", [])]
        if own.take("readOnlyRootFilesystem"):
            options.append("--read-only")
        if own.take("allowPrivilegeEscalation") is False:
            options.append("--security-opt=no-new-privileges")
        own.done()
        return options

    def _variable(self, variable: Object) -> str:
        if "value" in variable:
            return f"{variable['name']}={variable['value']}"
        reference = variable["valueFrom"]["secretKeyRef"]
        value = base64.b64decode(self.cluster.find("Secret", reference["name"])["data"][reference["key"]])
        return f"{variable['name']}={value.decode()}"

    def _mount(self, mount: Fields, group: int | None) -> list[str]:
        name, path = mount.take("name"), mount.take("mountPath")
        mode = "ro" if mount.take("readOnly") else "rw"
        mount.done()
        if name in self.claims:
            volume = self.cluster.claim(f"{name}-{self.name}", group)
            return [f"--volume={volume}:{path}:{mode},nocopy"]
        given = Fields(f"volume {name}", self.volumes[name])
        given.take("name")
        if (empty := given.take("emptyDir")) is not None:
            given.done()
            assert empty.pop("medium") == "Memory"
            size = empty.pop("sizeLimit").removesuffix("i").lower()
            assert not empty
            # everybody's, as kubelet makes it; with fsGroup of that group
            rights = f"mode=2777,gid={group}" if group is not None else "mode=0777"
            return [f"--tmpfs={path}:{rights},size={size}"]
        assert mode == "ro"
        if secret := given.take("secret"):
            self.secrets[secret["secretName"]] = name, secret.get("defaultMode", 0o644), group
            folder = self.update(secret["secretName"])
        else:
            data = self.cluster.find("ConfigMap", given.take("configMap")["name"])["data"]
            contents = {key: value.encode() for key, value in data.items()}
            folder = self.cluster.files(f"{self.name}-{name}", contents, 0o644, group)
        given.done()
        return [f"--volume={folder}:{path}:ro"]

    def update(self, secret: str) -> Path:
        """Let the pod see a Secret as it is now."""
        name, mode, group = self.secrets[secret]
        data = self.cluster.find("Secret", secret)["data"]
        contents = {key: base64.b64decode(value) for key, value in data.items()}
        return self.cluster.files(f"{self.name}-{name}", contents, mode, group)

    # --- a life ----------------------------------------------------------------------------------------

    def inspect(self) -> dict[str, Any]:
        """What Docker says of it."""
        found: dict[str, Any] = json.loads(docker("inspect", self.container))[0]
        return found

    @property
    def address(self) -> str:
        """Its address."""
        return str(self.inspect()["NetworkSettings"]["Networks"][self.cluster.network]["IPAddress"])

    def log(self) -> str:
        """All that it printed."""
        done = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def events(self) -> list[dict[str, Any]]:
        """The events that it printed."""
        lines = self.log().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def execute(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        """What a command inside prints, as ``kubectl exec`` would run it."""
        return docker("exec", self.container, *words, check=check, timeout=timeout)

    def probe(self, kind: str) -> tuple[bool, str]:
        """Ask a probe once: whether it is content, and what it printed."""
        probe = self.probes[kind]
        words = ["docker", "exec", self.container, *probe["exec"]["command"]]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=probe["timeoutSeconds"])
        except subprocess.TimeoutExpired:
            return False, "timeout"
        return done.returncode == 0, done.stdout + done.stderr

    def await_ready(self) -> float:
        """Wait for the startup probe, within what it allows, and then for the readiness probe; return the seconds."""
        began = time.monotonic()
        for kind in ("startup", "readiness"):
            limit = time.monotonic() + self.probes[kind]["periodSeconds"] * self.probes[kind]["failureThreshold"]
            while not (asked := self.probe(kind))[0]:
                assert self.inspect()["State"]["Running"], f"{self.name} ended\n{self.log()}"
                assert time.monotonic() < limit, f"{self.name} fails its {kind} probe: {asked[1]}\n{self.log()}"
                time.sleep(0.2)
        return time.monotonic() - began

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end; return its exit code."""
        return int(docker("wait", self.container, timeout=timeout))

    def terminate(self) -> float:
        """End it as kubelet does: the hook, SIGTERM, and SIGKILL when the grace time is over; return the seconds.

        Raises:
            AssertionError: the grace time did not do.
        """
        began = time.monotonic()
        if self.pre_stop:
            words = ["docker", "exec", self.container, *self.pre_stop["exec"]["command"]]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=self.grace)
            self.event = (done.stdout + done.stderr) if done.returncode else ""
        left = self.grace - (time.monotonic() - began)
        docker("stop", f"--time={int(left)}", self.container, timeout=left + 30)
        took = time.monotonic() - began
        code = self.inspect()["State"]["ExitCode"]
        assert code == 0, f"{self.name} ended with {code} after {took:.0f} of {self.grace} s\n{self.log()[-3000:]}"
        return took
