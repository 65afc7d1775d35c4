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

    def fill(folder: Path) -> None:
        make = [sys.executable, "-m", "venv", "--clear", str(folder)]
        try:
            run(make)
        except RuntimeError:
            # Debian leaves the half of its venv module that makes pip out of its python3.
            apt("python3-venv")
            run(make)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--requirement", str(requirements)])

    return once(f"{name}-python", requirements.read_bytes() + sys.version.encode(), fill) / "bin/python"


def jars(name: str) -> Path:
    """The folder with the jars of that server's pom.xml."""
    program("java", "default-jre-headless")
    pom = place.SOURCES / name / "pom.xml"

    def fill(folder: Path) -> None:
        program("mvn", "maven")
        run(["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"])

    return once(f"{name}-jars", pom.read_bytes(), fill)


def once(name: str, wanted: bytes, fill) -> Path:
    """The folder that `fill` fills for just this list. Another list has another folder: a running server keeps its files."""
    folder = place.SOFTWARE / f"{name}-{hashlib.sha256(wanted).hexdigest()[:12]}"
    mark = folder / "installed"
    if not mark.exists():
        with place.lock(folder.name):
            if not mark.exists():
                # Not made elsewhere and renamed: an environment of Python's knows its own path.
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                fill(folder)
                mark.touch()
    return folder


def run(command: list[str], **options) -> str:
    """Runs a command to its end; what it said is shown only when it failed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
