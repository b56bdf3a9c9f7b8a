"""The files of examples/deploy: what can be checked without a cluster to deploy them to."""

from __future__ import annotations

import configparser
import inspect
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cello import App
from cello.cli import parse_overrides
from cello.config import ClusterConfig
from cello.options import KUBERNETES_DELAY_SECONDS
from tests.kit.process import PATIENCE_SECONDS, ROOT, Process
from tests.kit.raw import Stopwatch, connected, connected_at

FOLDER = ROOT / "examples" / "deploy"
GRACE_SECONDS = ClusterConfig().graceful_timeout
PATHS = {
    name: parameter.default
    for name, parameter in inspect.signature(App.enable_health_checks).parameters.items()
    if name in ("live", "ready")
}


def text_of(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def flags_of(command: list[str]) -> list[str]:
    """Return what follows the script in a command."""
    return command[command.index("app.py") + 1 :]


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text_of(name))
    return parser


def container_command() -> list[str]:
    found = re.search(r"^CMD \[(.*)\]$", text_of("Dockerfile"), re.MULTILINE)
    assert found is not None
    return re.findall(r'"([^"]*)"', found[1])


class TestCommands:
    @pytest.mark.parametrize(
        "command",
        [shlex.split(unit("shop.service")["Service"]["ExecStart"]), container_command()],
        ids=["systemd", "container"],
    )
    def test_every_flag_is_one(self, command: list[str]) -> None:
        flags = parse_overrides(flags_of(command))
        assert flags.unknown == ()
        assert flags.env == "production"

    def test_a_container_listens_on_its_ports_and_is_no_root(self) -> None:
        flags = parse_overrides(flags_of(container_command()))
        text = text_of("Dockerfile")
        assert flags.host == "0.0.0.0"
        assert re.findall(r"^EXPOSE (\d+)$", text, re.MULTILINE) == [str(flags.port)]
        assert f"http://127.0.0.1:{flags.port}{PATHS['live']}" in text
        user, group = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)[0]
        assert int(user) > 0
        assert int(group) > 0


class TestSystemd:
    def test_it_waits_for_the_grace_before_it_kills(self) -> None:
        service = unit("shop.service")["Service"]
        assert int(service["TimeoutStopSec"]) > GRACE_SECONDS
        assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
        assert service["RestartPreventExitStatus"] == "2"

    def test_nginx_connects_to_the_unit_s_socket(self) -> None:
        path = unit("shop.socket")["Socket"]["ListenStream"]
        assert re.findall(r"server unix:(\S+);", text_of("nginx.conf")) == [path]

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
    def test_systemd_finds_nothing_wrong(self, tmp_path: Path) -> None:
        for name in ("shop.service", "shop.socket"):
            # The interpreter and the folder of this machine, which have to be there.
            text = text_of(name).replace("/srv/shop/venv/bin/python", sys.executable)
            (tmp_path / name).write_text(text.replace("/srv/shop", str(tmp_path)), "utf-8")
        units = [str(tmp_path / name) for name in ("shop.service", "shop.socket")]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        if "Failed to initialize manager" in done.stderr:
            pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()}")
        about_ours = [line for line in done.stderr.splitlines() if "shop." in line]
        assert (done.returncode, about_ours) == (0, []), done.stderr


class TestKubernetes:
    text = text_of("kubernetes.yaml")

    def test_it_is_three_documents_of_plain_blocks(self) -> None:
        documents = self.text.split("\n---\n")
        kinds = [re.findall(r"^kind: (\w+)$", document, re.MULTILINE) for document in documents]
        assert kinds == [["Deployment"], ["Service"], ["HorizontalPodAutoscaler"]]
        for number, line in enumerate(self.text.splitlines(), 1):
            indent = len(line) - len(line.lstrip(" "))
            assert indent % 2 == 0, f"line {number}"
            assert "\t" not in line, f"line {number}"
            is_known = re.fullmatch(r"\s*(#.*|---|(- )?\w+:( \S.*)?)", line)
            assert is_known, f"line {number}: {line}"

    def test_a_parser_reads_it(self) -> None:
        yaml = pytest.importorskip("yaml", reason="no YAML parser is installed")
        deployment, service, scaler = yaml.safe_load_all(self.text)
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"] == {"path": PATHS["live"], "port": "http"}
        assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]

    def test_the_probes_ask_where_the_health_checks_are(self) -> None:
        probes = dict(re.findall(r"^ +(\w+)Probe:\n +httpGet:\n +path: (\S+)$", self.text, re.MULTILINE))
        assert probes == {"readiness": PATHS["ready"], "liveness": PATHS["live"], "startup": PATHS["live"]}

    def test_it_waits_for_delay_and_grace_before_it_kills(self) -> None:
        [seconds] = re.findall(r"terminationGracePeriodSeconds: (\d+)", self.text)
        assert int(seconds) > KUBERNETES_DELAY_SECONDS + GRACE_SECONDS
        assert "preStop:" not in self.text

    def test_the_image_s_port_and_user(self) -> None:
        dockerfile = text_of("Dockerfile")
        assert re.findall(r"containerPort: (\d+)", self.text) == re.findall(r"EXPOSE (\d+)", dockerfile)
        user = re.findall(r"runAs(?:User|Group): (\d+)", self.text)
        assert list(re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[0]) == user


def run_example(*arguments: str, **environment: str) -> Process:
    return Process([sys.executable, str(FOLDER / "app.py"), *arguments], ROOT, environment)


def test_the_application_serves_and_answers_its_probes() -> None:
    process = run_example("--port", "0", "--env", "production")
    try:
        with connected(process.port) as client:
            assert client.ask("/").body == b'{"message":"Hello","client":"127.0.0.1"}'
            assert [client.ask(path).status for path in PATHS.values()] == [200, 200]
        assert process.stop() == 0
    finally:
        process.end()


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/shop.conf;
}}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_in_front(tmp_path: Path) -> None:
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers could not enter the folder
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "app.sock"
    snippet = text_of("nginx.conf").replace("/run/shop/app.sock", str(path))
    (tmp_path / "shop.conf").write_text(snippet.replace("listen 80;", f"listen 127.0.0.1:{port};"))
    (tmp_path / "nginx.conf").write_text(user + NGINX.format(folder=tmp_path))
    process = run_example("--uds", str(path), "--env", "production")
    assert process.urls == [f"unix:{path}"]
    nginx = subprocess.Popen(
        ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.PIPE
    )
    try:
        watch = Stopwatch()
        while True:
            assert nginx.poll() is None, nginx.stderr and nginx.stderr.read()
            assert watch.seconds < PATIENCE_SECONDS
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        with connected(port) as client:
            for _ in range(3):
                assert client.ask("/").body == b'{"message":"Hello","client":""}'
            assert client.ask(PATHS["live"]).status == 404
        with connected_at(path) as client:
            assert client.ask(PATHS["live"]).status == 200
        assert process.stop() == 0
    finally:
        process.end()
        nginx.send_signal(signal.SIGTERM)
        nginx.wait(PATIENCE_SECONDS)
        assert nginx.stderr is not None
        nginx.stderr.close()
