"""A real PostgreSQL for tests: a cluster of its own below a folder, reached by its socket alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

VARIABLE = "DOOR_TEST_POSTGRES"  # the folder of a running cluster's socket: hubs of tests keep their database there
ACCOUNT = "postgres"  # the server refuses to run as root
BLANK = "blank"


def programs() -> Path | None:
    """Where the server's programs are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    there = shutil.which("initdb")
    return found[-1].parent if found else Path(there).resolve().parent if there else None


def why_not() -> str:
    """Why none can be started here; empty where one can."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: postgresql)"
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return f"there is no account {ACCOUNT}, and the server refuses to run as root" if os.geteuid() == 0 else ""
    return ""


@contextlib.contextmanager
def server() -> Iterator[Path]:
    """The folder of its socket."""
    bin_ = programs()
    assert bin_ is not None
    folder = Path(tempfile.mkdtemp(prefix="door-pg-"))
    as_root = os.geteuid() == 0
    who = ["runuser", "-u", ACCOUNT, "--"] if as_root else []
    if as_root:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(folder, account.pw_uid, account.pw_gid)
    data = folder / "data"
    try:
        _run([*who, bin_ / "initdb", "-D", data, "-A", "trust", "-U", ACCOUNT, "-E", "UTF8", "--locale=C.UTF-8"])
        # What a test writes need not outlive the machine; a crash of the server is not what is tested here.
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=200"
        _run([*who, bin_ / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"])
        try:
            yield folder
        finally:
            _run([*who, bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def address(socket: Path, database: str) -> str:
    return f"postgresql://{ACCOUNT}@/{database}?host={socket}"


def address_of(root: Path, template: str = BLANK) -> str:
    """Of the database of a hub whose other state lies in `root`; made from the template where it is not there yet."""
    socket, name = Path(os.environ[VARIABLE]), "t" + hashlib.sha256(str(root).encode()).hexdigest()[:20]
    with _admin(socket) as connection:
        if not connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return address(socket, name)


def databases() -> set[str]:
    """Every database that is there."""
    with _admin(Path(os.environ[VARIABLE])) as connection:
        return set(connection.scalars(sa.text("SELECT datname FROM pg_database")))


def make_blank() -> str:
    """The address of the template, made empty."""
    socket = Path(os.environ[VARIABLE])
    with _admin(socket) as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {BLANK}")
        connection.exec_driver_sql(f"CREATE DATABASE {BLANK} TEMPLATE template0")
    return address(socket, BLANK)


@contextlib.contextmanager
def _admin(socket: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(address(socket, "postgres").replace("postgresql:", "postgresql+psycopg:"),
                              isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _run(words: list[str | Path]) -> None:
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
