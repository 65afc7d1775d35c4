"""servers up [NAME…] | start NAME… | kill NAME… | stop NAME… | down [NAME…] | status | unset | missing | python NAME | jars NAME

up       installs what is missing, starts what does not run, each empty and in a folder of its own, waits until it answers a
         query, and prints one `export NAME=address` line for each; what runs already is only reported. Without names: all.
kill     kill -9 of the server and its children; the data stay.
stop     the orderly end; the data stay.
start    starts one that was killed or stopped, on its old port with its old data.
down     stops and removes the data; a kind takes its instances along. Without names: all.
status   what runs.
unset    the kinds whose address is not in the environment.
missing  those of them that do not run.
python   the interpreter that has the official client of that server.
jars     the folder with the jars of that server, its client in Java among them; there is a compiler then.

A name is a kind (`kafka`) or an instance of it (`kafka@crash`): a second server of that kind, for a test that kills it.
The servers hold no descriptor of the caller open, so that `$(./dev servers up)` comes back.
Exit status: 0 done; 1 at least one could not be had (said on stderr; the others run); 2 wrong usage.
"""

import concurrent.futures
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launcher import install, place, recipe

# A JVM on a loaded machine needs 10 s; more than a minute means that it will never come.
START_PATIENCE_S = 90


def main(arguments: list[str]) -> int:
    commands = {"up": up, "start": start, "kill": kill, "stop": stop, "down": down}
    commands |= {"status": status, "unset": unset, "missing": missing, "python": python, "jars": jars}
    if not arguments or arguments[0] not in commands or any(name.startswith("-") for name in arguments[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    names = arguments[1:]
    for name in names:
        if not re.fullmatch(r"[a-z_]+(@[A-Za-z0-9_.-]+)?", name):
            print(f"not a server's name: {name}", file=sys.stderr)
            return 2
        try:
            recipe.load(name)
        except recipe.Unknown as error:
            print(error, file=sys.stderr)
            return 2
    if arguments[0] in ("start", "kill", "stop", "python", "jars") and not names:
        print(f"servers {arguments[0]} needs a name", file=sys.stderr)
        return 2
    return commands[arguments[0]](names)


def up(names: list[str]) -> int:
    def each(name: str) -> str:
        its = recipe.load(name)
        its.install()
        with place.lock(name):
            server = place.known(name)
            # Somebody may have cleared the machine's temporary folder.
            if server is None or not Path(server.folder).is_dir():
                server = create(name, its)
            if not server.alive():
                launch(server, its)
            await_answer(server, its)
        return f"export {its.variable}={server.address}"

    return for_each(names or recipe.names(), each)


def start(names: list[str]) -> int:
    def each(name: str) -> None:
        its = recipe.load(name)
        with place.lock(name):
            server = must_know(name)
            if not server.alive():
                launch(server, its)
            await_answer(server, its)

    return for_each(names, each)


def kill(names: list[str]) -> int:
    def each(name: str) -> None:
        with place.lock(name):
            place.kill(must_know(name))

    return for_each(names, each)


def stop(names: list[str]) -> int:
    def each(name: str) -> None:
        with place.lock(name):
            place.stop(must_know(name), recipe.load(name).stop_signal)

    return for_each(names, each)


def down(names: list[str]) -> int:
    def each(name: str) -> None:
        with place.lock(name):
            server = place.known(name)
            if server:
                place.stop(server, recipe.load(name).stop_signal)
                server.forget()

    known = place.names_known()
    return for_each([name for name in known if not names or name in names or name.partition("@")[0] in names], each)


def status(names: list[str]) -> int:
    for name in names or place.names_known():
        server = place.known(name)
        if server:
            state = f"runs as process {server.pid}" if server.alive() else "is down"
            print(f"{name}: {server.address}, {state}, {server.folder}")
    return 0


def unset(names: list[str]) -> int:
    for name in names or recipe.names():
        if not os.environ.get(recipe.load(name).variable):
            print(name)
    return 0


def missing(names: list[str]) -> int:
    for name in names or recipe.names():
        server = place.known(name)
        if not os.environ.get(recipe.load(name).variable) and not (server and server.alive()):
            print(name)
    return 0


def python(names: list[str]) -> int:
    for name in names:
        print(recipe.load(name).python())
    return 0


def jars(names: list[str]) -> int:
    for name in names:
        install.program("javac", "default-jdk-headless")
        print(install.jars(name))
    return 0


def create(name: str, its: recipe.Recipe) -> place.Running:
    """A folder and a port for a server that never ran."""
    with place.lock("ports"):
        port = place.free_port()
        folder = new_folder(name, its.user)
        server = place.Running(name, its.address(port), port, str(folder), 0, 0)
        server.save()
    try:
        its.prepare(folder, port)
    except BaseException:
        server.forget()
        raise
    return server


def new_folder(name: str, user: str | None) -> Path:
    place.DATA.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place.DATA))
    if user is None or os.geteuid() != 0:
        return folder
    # A checkout below /root cannot be reached by another user: then the machine's temporary folder must do.
    if not all(above.stat().st_mode & 0o001 for above in folder.parents):
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix=f"tidemark-{name}-"))
    shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    return folder


def launch(server: place.Running, its: recipe.Recipe) -> None:
    """Starts the process in a session of its own, with nothing of ours open in it."""
    folder = Path(server.folder)
    command = its.command(folder, server.port)
    other_user = {}
    if command.user and os.geteuid() == 0:
        account = pwd.getpwnam(command.user)
        other_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            command.arguments,
            cwd=folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **other_user,
        )
    server.pid, server.born = process.pid, place.birth(process.pid) or 0
    server.save()


def await_answer(server: place.Running, its: recipe.Recipe) -> None:
    end = time.monotonic() + START_PATIENCE_S
    problem = "it does not listen"
    while True:
        if not server.alive():
            problem = "the process ended"
        elif listens(server.port):
            try:
                return its.probe(server.address)
            except subprocess.CalledProcessError as error:
                problem = (error.stderr or error.stdout or str(error)).strip()[-1000:]
            except (subprocess.TimeoutExpired, OSError, RuntimeError) as error:
                problem = str(error)
        if not server.alive() or time.monotonic() > end:
            log = Path(server.folder) / "log"
            raise RuntimeError(f"it does not answer: {problem}\n--- end of {log} ---\n{tail(log)}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as knock:
        knock.settimeout(1)
        return knock.connect_ex(("127.0.0.1", port)) == 0


def tail(log: Path) -> str:
    return log.read_bytes()[-3000:].decode(errors="replace") if log.exists() else ""


def must_know(name: str) -> place.Running:
    server = place.known(name)
    if server is None:
        raise RuntimeError("it was never started (servers up)")
    return server


def for_each(names: list[str], action) -> int:
    """Side by side: most of a start is waiting. Lines come out in the order of the names."""
    status = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(len(names), 1)) as pool:
        running = [(name, pool.submit(action, name)) for name in names]
        for name, future in running:
            try:
                line = future.result()
                if line:
                    print(line, flush=True)
            except Exception as error:  # noqa: BLE001  (whatever it is, the others go on and it is said)
                print(f"{name}: {error}", file=sys.stderr)
                status = 1
    return status
