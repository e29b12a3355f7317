"""One cluster below one directory: started, looked at, hurt by tests, and removed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from scripts.cluster import configs, images
from scripts.cluster.certs import Authority
from scripts.cluster.cgroups import make_cgroups, processes_in, remove_cgroups
from scripts.cluster.namespaces import Namespaces
from scripts.cluster.programs import commands

SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""A kubelet sets them for the whole machine: they are put back."""

PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "openssl": "openssl",
    "busybox": "busybox-static",
    "unshare": "util-linux",
}

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "first"},
    "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": images.BUSYBOX, "command": ["true"]}],
    },
}


def default_root() -> Path:
    """Where ``make cluster-up`` makes it; ``LAUNCHCORE_CLUSTER_DIR`` says otherwise."""
    said = os.environ.get("LAUNCHCORE_CLUSTER_DIR")
    return Path(said) if said else Path.home() / ".cache" / "launchcore" / "cluster"


def missing() -> str | None:
    """Why no cluster can be made here; ``None``: one can."""
    if os.getuid() != 0:
        return "a cluster needs root: namespaces, mounts and cgroups"
    lacking = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not Path("/usr/lib/cni/bridge").exists():
        lacking.append("containernetworking-plugins")
    if lacking:
        return f"programs are missing: apt-get install --no-install-recommends {' '.join(lacking)}"
    return None


def built(what: str = "kubernetes") -> Path | None:
    """The folder of the programs, or of ``helm``; ``None``: they have to be built first."""
    command = [str(Path(__file__).with_name("build")), what, "--check"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return Path(told.stdout.strip()) if told.returncode == 0 else None


class Cluster:
    """A node, and what its control plane needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kubeconfig = root / "kubeconfig"
        self.audit_log = root / "audit.log"
        self.spaces = Namespaces(root)

    # -- its life --------------------------------------------------------------------------------

    def runs(self) -> bool:
        return self.spaces.holder() is not None and self.kubeconfig.exists()

    def start(self, *, seconds: float = 120.0) -> None:
        """Make it, and wait until a pod has run on it. What an earlier one left is removed first."""
        self.close()
        binaries = self._binaries()
        self.root.mkdir(parents=True, mode=0o755)
        try:
            self._prepare(binaries)
            self._start_all()
            self._ready(time.monotonic() + seconds)
        except BaseException as error:
            told = self.logs()
            self.close()
            raise RuntimeError(f"the cluster does not start: {error}\n{told}") from error

    def close(self) -> None:
        """Remove everything of it; also after a crash, and when there is none."""
        self.spaces.close()
        with contextlib.suppress(OSError, ValueError):
            for name, value in json.loads((self.root / "sysctls.json").read_text()).items():
                Path("/proc/sys", name).write_text(value)
        if (self.root / "number").exists():
            remove_cgroups(self.cgroup)
            subprocess.run(["ip", "link", "del", self.link], capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    # -- where it is -----------------------------------------------------------------------------

    @property
    def number(self) -> int:
        return int((self.root / "number").read_text())

    @property
    def link(self) -> str:
        """The network link on the machine's side."""
        return f"lck8s{self.number}"

    @property
    def cgroup(self) -> str:
        return f"launchcore-cluster-{self.number}"

    @property
    def address(self) -> str:
        """Of the node and its API server, as the machine sees it."""
        return f"10.231.{self.number}.2"

    @property
    def host_address(self) -> str:
        """Of the machine, as pods see it: here they reach what tests serve."""
        return f"10.231.{self.number}.1"

    # -- what tests do ---------------------------------------------------------------------------

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the cluster's administrator."""
        command = [str(self.binaries / "kubectl"), f"--kubeconfig={self.kubeconfig}", *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(args)}: {done.stderr.strip()[-1000:]}")
        return done.stdout

    def get(self, *args: str) -> Any:
        """``kubectl get … -o json``; ``None``: there is no such object."""
        told = self.kubectl("get", *args, "-o", "json", "--ignore-not-found")
        return json.loads(told) if told.strip() else None

    def apply(self, *manifests: Any) -> None:
        """Create, or change into, these objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl("apply", "-f", "-", stdin=text)

    def load(self, name: str, fill: images.Fill, **config: Any) -> None:
        """Make an image and bring it to the node."""
        with tempfile.TemporaryFile(dir=self.root) as made:
            images.archive(name, fill, made, scratch=self.root, **config)
            made.seek(0)
            self.load_archive(made)

    def load_archive(self, saved: IO[bytes]) -> None:
        """Bring the images of a ``docker save`` to the node."""
        self.spaces.run("ctr", "--namespace=k8s.io", "images", "import", "--digests=false", "-", stdin=saved)

    def trust_registry(self, host: str, ca: Path | None = None) -> None:
        """Let the node pull from this ``host:port``: over plain HTTP, or over TLS with a CA of its own."""
        place = self.root / "registries" / host
        place.mkdir(parents=True, exist_ok=True)
        url = f"{'https' if ca else 'http'}://{host}"
        trusted = f'  ca = "{ca}"\n' if ca else ""
        (place / "hosts.toml").write_text(
            f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n{trusted}'
        )

    def kill(self, program: str, number: int = signal.SIGKILL) -> None:
        """End one of its programs, and wait until it has gone."""
        pid = self.spaces.find(program)
        if pid is not None:
            os.kill(pid, number)
            self._wait(f"{program} has ended", lambda: self.spaces.find(program) != pid, seconds=30)

    def start_program(self, program: str, *flags: str) -> None:
        """Start it, unless it runs. Flags come after those that it has anyway, and go before them."""
        if self.spaces.find(program) is None:
            command = [*commands(self.root, self.binaries, self.address)[program], *flags]
            self.spaces.spawn(command, self.root / f"{program}.log", {"HOME": str(self.root)})

    def kill_api(self) -> None:
        self.kill("kube-apiserver")

    def start_api(self, *, seconds: float = 60.0) -> None:
        """Start it again, and wait until it answers."""
        self.start_program("kube-apiserver")
        self._wait("the API server answers", self.api_answers, seconds=seconds)

    def api_answers(self) -> bool:
        return self.kubectl("get", "--raw=/readyz", check=False) == "ok"

    def kill_kubelet(self) -> None:
        self.kill("kubelet")

    def start_kubelet(self) -> None:
        self.start_program("kubelet")

    def lose_node(self) -> None:
        """As when its power goes: nothing of its pods runs any more, and nobody says so."""
        self.kill_kubelet()

        def gone() -> bool:
            left = processes_in(f"{self.cgroup}/kubepods")
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        self._wait("its containers have ended", gone, seconds=30)

    def logs(self, lines: int = 12) -> str:
        """The last lines of each program's log."""
        parts = []
        for path in sorted(self.root.glob("*.log")):
            if path != self.audit_log:
                tail = path.read_text(errors="replace").splitlines()[-lines:]
                parts.append("\n".join([f"--- {path.name}", *(line[:400] for line in tail)]))
        return "\n".join(parts)

    # -- parts of the start ----------------------------------------------------------------------

    @property
    def binaries(self) -> Path:
        return Path((self.root / "binaries").read_text())

    def _binaries(self) -> Path:
        built = subprocess.run(
            [Path(__file__).with_name("build")], stdout=subprocess.PIPE, text=True, check=False
        )
        if built.returncode:
            raise RuntimeError("the cluster's programs could not be built (see above)")
        return Path(built.stdout.strip())

    def _prepare(self, binaries: Path) -> None:
        root = self.root
        links = {each.name for each in Path("/sys/class/net").iterdir()}
        number = next(each for each in range(200) if f"lck8s{each}" not in links)
        (root / "number").write_text(str(number))
        (root / "binaries").write_text(str(binaries))
        (root / "sysctls.json").write_text(
            json.dumps({name: Path("/proc/sys", name).read_text() for name in SYSCTLS})
        )
        for folder in ("etcd", "cni", "kubelet", "registries", "logs"):
            (root / folder).mkdir()
        (root / "resolv.conf").write_text("")
        (root / "audit.yaml").write_text(configs.AUDIT)
        (root / "containerd.toml").write_text(configs.containerd(root))
        (root / "cni" / "10-pods.conflist").write_text(configs.network())
        (root / "kubelet.yaml").write_text(configs.kubelet(root, self.address, self.cgroup))
        self._make_certificates()
        make_cgroups(self.cgroup)
        self.spaces.start(configs.NODE)
        self._make_network()

    def _make_certificates(self) -> None:
        authority = Authority(self.root / "pki")
        names = [
            f"IP:{self.address}",
            f"IP:{configs.SERVICE_API}",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
        ]
        authority.make([*names, "DNS:kubernetes.default.svc"])
        users = {
            "admin": ("/O=system:masters/CN=admin", self.kubeconfig),
            "controllers": ("/CN=system:kube-controller-manager", None),
            "scheduler": ("/CN=system:kube-scheduler", None),
            "kubelet": (f"/O=system:nodes/CN=system:node:{configs.NODE}", None),
        }
        for name, (subject, path) in users.items():
            authority.certificate(name, subject)
            server = f"https://{self.address}:6443"
            if path is None:
                authority.kubeconfig(self.root / f"{name}.kubeconfig", server, name)
        # The last one says that the cluster is complete; see _ready.

    def _make_network(self) -> None:
        holder = self.spaces.holder()
        made = ["ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(holder)]
        for command in (
            made,
            ["ip", "address", "add", f"{self.host_address}/24", "dev", self.link],
            ["ip", "link", "set", self.link, "up"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        self.spaces.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.spaces.run("ip", "link", "set", "eth0", "up")
        # Without kube-proxy: the one service that pods cannot do without.
        target = ("-d", configs.SERVICE_API, "-p", "tcp", "--dport", "443", "-j", "DNAT")
        for chain in ("PREROUTING", "OUTPUT"):
            where = ("--to-destination", f"{self.address}:6443")
            self.spaces.run("iptables", "-t", "nat", "-A", chain, *target, *where)
        self.spaces.run("ip", "route", "add", configs.SERVICES, "dev", "eth0")

    def _start_all(self) -> None:
        for program in ("etcd", "containerd", "kube-apiserver"):
            self.start_program(program)
        # While the API server gets ready: the images.
        self._wait(
            "containerd answers",
            lambda: self.spaces.run("ctr", "version", check=False).returncode == 0,
            seconds=30,
        )
        self.load(configs.PAUSE, images.busybox, command=["sleep", "2147483647"], user="65535:65535")
        self.load(images.BUSYBOX, images.busybox, command=["sh"])
        for program in ("kube-controller-manager", "kube-scheduler", "kubelet"):
            self.start_program(program)

    def _ready(self, until: float) -> None:
        left = until - time.monotonic()
        authority = Authority(self.root / "pki")
        admin = self.root / "kubeconfig.new"
        authority.kubeconfig(admin, f"https://{self.address}:6443", "admin")
        admin.rename(self.kubeconfig)
        self._wait("the API server answers", self.api_answers, seconds=left)
        ended = [name for name in commands(self.root, self.binaries, "") if self.spaces.find(name) is None]
        if ended:
            raise RuntimeError(f"{', '.join(ended)} ended at once")
        self._wait(
            "pods may be made", lambda: self.get("serviceaccount", "default") is not None, seconds=left
        )
        self.kubectl("create", "-f", "-", stdin=json.dumps(POD))
        self._wait(
            "a pod has run",
            lambda: self.get("pod", "first")["status"].get("phase") == "Succeeded",
            seconds=left,
        )
        self.kubectl("delete", "pod", "first", "--wait=false")

    def _wait(self, what: str, condition: Callable[[], object], *, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"waited {seconds:.0f} s in vain: {what}")
            time.sleep(0.1)
