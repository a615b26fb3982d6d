"""What no message says: passwords, and what a terminal would act on."""

import pytest

from erde_nas.errors import UserError, printable, redacted
from erde_nas.files import DamagedJson
from erde_nas.registry import UnknownName
from erde_nas.run.studies.database import parse_url, public

SECRET = "geheim"
ADDRESSES = (
    "postgresql://u:geheim@host/db",
    "postgresql://u:ge@geheim/x@host/db",
    "postgresql://u@host/db?password=geheim",
    "postgresql://u@host/db?sslmode=require&sslpassword=geheim&Token=geheim",
    "postgresql://:geheim@host/db",
    "mysql://host/db?passwd='geheim x'",
    "mssql+pyodbc://u:geheim@h?odbc_connect=DRIVER%3Dx%3BPWD%3Dgeheim",
    "ray://u:geheim@h:10001",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_passwords_are_neither_shown_nor_kept(address):
    assert SECRET in address
    assert SECRET not in redacted(f"--storage {address.split('odbc')[0]} cannot be opened")
    if address.count("@") > 1:
        with pytest.raises(UserError, match="an @ in a password must be written as %40"):
            parse_url(address)
    else:
        assert SECRET not in public(parse_url(address))
    for kind in (UserError, DamagedJson):
        assert SECRET not in str(kind(address.split("odbc")[0]))


def test_what_is_no_address_is_not_repeated_where_it_may_hold_a_password():
    with pytest.raises(UserError, match=r"--storage \*\*\* is no database URL") as caught:
        parse_url("u:geheim@host")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["postgresql://u@host:5432/db?sslmode=require", "sqlite:////tmp/a.db", "postgresql://u@/db?host=/run/postgresql"],
)
def test_what_is_no_secret_stays(address):
    assert public(parse_url(address)).replace("%2F", "/") == address
    assert redacted(address) == address


def test_a_message_steers_no_terminal():
    assert str(UserError("class \x1b[2J\x07\udcff\u202e, µ\nline two")) == (
        "class \\x1b[2J\\x07\\udcff\\u202e, µ\nline two"
    )
    assert printable("plain text, Ä") == "plain text, Ä"
    assert isinstance(UnknownName("x"), UserError)
