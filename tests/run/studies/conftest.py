"""Databases to share a study in: a file of SQLite's, and a PostgreSQL server of the tests' own on a free port."""

import os
import pwd
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest
import sqlalchemy

BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's place, which is not on the PATH
PASSWORD = "open sesame"


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs."""
    return shutil.which(name) or next((str(folder / name) for folder in BIN if (folder / name).is_file()), None)


def why_not() -> str:
    """Why no server can be started here; empty where one can."""
    if program("initdb") is None or program("pg_ctl") is None:
        return "PostgreSQL is not installed (Debian: apt install postgresql)"
    if os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


@contextmanager
def server() -> Iterator[str]:
    """The server's URL, with its password, without a database. It is stopped at the end and its data removed."""
    folder = Path(mkdtemp(prefix="erde-nas-postgres-"))  # not pytest's, which other users may not enter
    secret = folder / "password"
    secret.write_text(PASSWORD)
    owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    if owner is not None:
        for path in (folder, secret):
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def run(*command: str) -> None:
        user = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, **user)

    data = str(folder / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k '' -c fsync=off -c max_connections=40"
    try:
        run(
            program("initdb"), "-D", data, "-U", "erde", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "-N"
        )
        run(program("pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://erde:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}"
        finally:
            run(program("pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running server, to which the name of a database can be added."""
    if reason := why_not():
        pytest.skip(reason)
    pytest.importorskip("psycopg")
    with server() as url:
        yield url


@pytest.fixture
def database(postgres: str, tmp_path: Path) -> str:
    """The URL of an empty database in PostgreSQL."""
    name = "d" + uuid.uuid4().hex
    url = postgres.replace("postgresql:", "postgresql+psycopg:")
    engine = sqlalchemy.create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{postgres}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    return request.getfixturevalue("database")
