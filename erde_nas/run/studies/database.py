"""A database by its URL: opened with one clear error for whatever keeps it from being opened."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from erde_nas.errors import HIDDEN, UserError, redacted
from erde_nas.run.studies.claims import META
from erde_nas.run.studies.whole import WholeTrialStorage

Made = TypeVar("Made")
CONNECT_S = 10
LOCKED_S = 60  # SQLite: wait so long for other writers
TRIES = 5  # at making the tables


def parse_url(text: str) -> URL:
    """The URL with the driver that erde-nas names in its extras. Raises UserError."""
    if text.partition("?")[0].count("@") > 1:  # a part of the password would be taken for the host, and shown
        raise UserError("--storage: an @ in a password must be written as %40, and a / as %2F")
    try:
        url = sqlalchemy.make_url(text)
    except ArgumentError:
        shown = HIDDEN if "@" in text else text  # what is before it may be a password
        raise UserError(
            f"--storage {shown} is no database URL; give one like postgresql://user@host/database or sqlite:///file.db"
        ) from None
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def public(url: URL) -> str:
    """The URL without its password, as it may be shown and kept: neither before the host nor behind the `?`."""
    name = "postgresql" if url.drivername == "postgresql+psycopg" else url.drivername
    query = {key: value for key, value in url.query.items() if not _holds_secret(key, value)}
    return redacted(URL.create(name, url.username, None, url.host, url.port, url.database, query).render_as_string())


def _holds_secret(key: str, value: str | tuple[str, ...]) -> bool:
    """Whether a parameter is one, or holds a whole list of them, as ODBC's do."""
    texts = [value] if isinstance(value, str) else value
    return any(redacted(pair) != pair for pair in (f"{key}={text}" for text in texts))


def connect(url: URL) -> Engine:
    """An engine that has been connected once. Raises UserError."""
    try:
        engine = sqlalchemy.create_engine(url, **_options(url))
        with engine.connect():
            pass
    except NoSuchModuleError:
        raise UserError(f"--storage {public(url)}: '{url.drivername}' is no kind of database that is known") from None
    except ImportError as error:
        extra = "pip install 'erde-nas[postgresql]'" if "psycopg" in str(error) else f"pip install {error.name}"
        raise UserError(f"--storage {public(url)} needs the Python package '{error.name}': {extra}") from None
    except SQLAlchemyError as error:
        raise UserError(
            f"--storage {public(url)} cannot be opened: {_reason(error)}; check the address and that the server runs; "
            "a password may stand in PGPASSWORD or ~/.pgpass"
        ) from error
    return engine


def open_optuna(url: URL) -> WholeTrialStorage:
    """Optuna's tables in a database that can be connected to."""
    text, options = url.render_as_string(hide_password=False), _options(url)
    # First without a pool: where making the tables fails, no connection is left open.
    _persistently(lambda: WholeTrialStorage(text, engine_kwargs={**options, "poolclass": NullPool}))
    return WholeTrialStorage(text, engine_kwargs=options)


def make_tables(engine: Engine) -> None:
    """The tables of `claims`, unless they are there."""
    _persistently(lambda: META.create_all(engine))


def _persistently(make: Callable[[], Made]) -> Made:
    """Several searches may make the same tables at the same moment: then all but one fail, and find them made."""
    for attempt in range(TRIES):
        try:
            return make()
        except (DBAPIError, StorageInternalError):
            if attempt == TRIES - 1:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


@contextmanager
def answering(url: URL) -> Iterator[None]:
    """Turn what a database says of a lost connection, missing rights or a full disk into a UserError."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise UserError(f"--storage {public(url)}: {_reason(error)}; what is stored is kept, run it again") from error


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    original = getattr(cause, "orig", None) or cause or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0].rstrip(";.")


def _options(url: URL) -> dict[str, Any]:
    """Arguments of SQLAlchemy's `create_engine`."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        return {"connect_args": {"timeout": LOCKED_S}}
    waiting = {"connect_args": {"connect_timeout": CONNECT_S}} if kind in ("postgresql", "mysql") else {}
    return {"pool_pre_ping": True, **waiting}
