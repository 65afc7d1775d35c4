"""What a fresh machine lacks: Debian packages, Python packages in an environment of each server's own, jars.

Only packagers' own commands are used, with whatever sources the machine has set up for them. Each piece is installed once and
again when its list changes.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from launcher import place


def program(command: str, package: str) -> None:
    """Installs the Debian package unless the command is there."""
    if not shutil.which(command):
        apt(package)


def apt(package: str) -> None:
    with place.lock("apt"):
        become = [] if os.geteuid() == 0 else ["sudo", "-n"]
        apt_update()
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run([*become, "apt-get", "install", "-y", "-q", "--no-install-recommends", package], env=environment)


@functools.cache
def apt_update() -> None:
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    run([*become, "apt-get", "update", "-q"])


def python(name: str) -> Path:
    """The interpreter of that server's own environment, with exactly its requirements.txt."""
    requirements = place.SOURCES / name / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    folder = place.SOFTWARE / name
    mark = folder / "installed"
    with place.lock(f"install-{name}"):
        if not mark.exists() or mark.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                run([sys.executable, "-m", "venv", str(folder / "venv")])
            except RuntimeError:
                # Debian leaves the half of its venv module that makes pip out of its python3.
                apt("python3-venv")
                run([sys.executable, "-m", "venv", "--clear", str(folder / "venv")])
            pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, "--requirement", str(requirements)])
            mark.write_text(wanted)
    return folder / "venv/bin/python"


def jars(name: str) -> Path:
    """The folder with the jars of that server's pom.xml."""
    program("java", "openjdk-17-jre-headless")
    pom = place.SOURCES / name / "pom.xml"
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    folder = place.SOFTWARE / f"{name}-jars"
    mark = folder / "installed"
    with place.lock(f"install-{name}-jars"):
        if not mark.exists() or mark.read_text() != wanted:
            program("mvn", "maven")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            run(["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}"])
            mark.write_text(wanted)
    return folder / "lib"


def run(command: list[str], **options) -> str:
    """Runs a command to its end; what it said is shown only when it failed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
