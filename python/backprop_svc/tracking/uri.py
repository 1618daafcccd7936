"""Tracking URIs: how one is shown and kept, and how its secrets stay out of other texts."""

from __future__ import annotations

import os
import re
import shlex
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

from backprop_svc.errors import SettingError, shown

HIDDEN = "***"
HARMLESS = frozenset(
    {
        *("host", "hostaddr", "port", "user", "dbname", "database", "server", "service"),
        *("driver", "charset", "sslmode", "timeout", "connect_timeout", "application_name"),
        *("target_session_attrs", "mode", "uri", "cache"),
    }
)
"""Query parameters that are shown. Any other one may be a secret: drivers have many names."""
SHORTEST = 3
"""Characters of a secret that is looked for in texts: a shorter one is in every word."""
STORES = "sqlite:///mlflow.db, postgresql://…, http://… and other stores of MLflow"
"""What a message says of the tracking URIs that are allowed."""
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]+")
_known: set[str] = set()
"""URIs that this process was given: what a library says of them may hold their secrets."""


def remember(uri: str) -> None:
    """Keep the secrets of this URI out of all texts from now on."""
    has_place = "://" in uri and ("@" in uri or "?" in uri)
    if has_place or re.search(r"\b(password|pwd)\s*=", uri, re.IGNORECASE):
        _known.add(uri)


def checked_uri(uri: str) -> str:
    """Return a tracking URI that a store may be asked for.

    Raises
    ------
    SettingError
        A file name or an address instead of a URI; one that begins otherwise than any store's;
        a password that a library would cut in two.
    """
    if not uri.strip():
        raise SettingError("tracking", shown(uri), STORES, "name one, or leave it out")
    remember(uri)
    scheme, colon, rest = uri.partition("://")
    meant = meant_uri(uri)
    if meant is not None:
        raise SettingError(
            "tracking", shown(shown_uri(uri)), STORES, f"write {shown_uri(meant)}"
        )
    if not colon and (
        Path(uri).suffix in {".db", ".sqlite", ".sqlite3"} or Path(uri).is_file()
    ):
        from backprop_svc.tracking.sqlite import uri_of

        fix = f"write {uri_of(Path(uri))}"
        raise SettingError("tracking", f"{shown(shown_uri(uri))}, a file name", STORES, fix)
    if colon and _is_cut(scheme, uri, rest):
        raise SettingError(
            "tracking",
            f"{shown(shown_uri(uri))}, whose password has a sign that ends it",
            "passwords in which such signs are percent-encoded",
            "write %40 for @, %2F for /, %3F for ?, %23 for #, %25 for %",
        )
    return uri


def meant_uri(uri: str) -> str | None:
    """Return the URI that was meant, where another beginning makes it one.

    >>> meant_uri("postgres://me@host/db"), meant_uri("sqlite:runs.db")
    ('postgresql://me@host/db', 'sqlite:///runs.db')
    >>> meant_uri("localhost:5000"), meant_uri("sqlite:////home/me/runs.db")
    ('http://localhost:5000', None)
    """
    scheme, colon, _ = uri.partition(":")
    # MLflow tells schemes by small letters.
    if colon and scheme != scheme.lower() and scheme.lower().startswith(_SCHEMES):
        small = f"{scheme.lower()}:{uri[len(scheme) + 1 :]}"
        return meant_uri(small) or small
    for pattern, better in _MEANT:
        if pattern.match(uri):
            return pattern.sub(better, uri, count=1)
    return None


_SCHEMES = ("sqlite", "postgres", "mysql", "mssql")
_MEANT = [
    (re.compile(r"postgres(?=://|\+)"), "postgresql"),
    (re.compile(r"sqlite:/(?=[^/]+/)"), "sqlite:////"),
    (re.compile(r"sqlite:/{0,2}(?=[^/])"), "sqlite:///"),
    (re.compile(r"(https?):/?(?=[^/])"), r"\1://"),
    (re.compile(r"(?=(localhost|[\w-]+(\.[\w-]+)+):\d+(/|$))"), "http://"),
]
"""Beginnings that no store has, and those that they stand for."""


def shown_uri(uri: str) -> str:
    """Return a URI without its password, and without the parameters that may hold one.

    >>> shown_uri("postgresql://me:secret@host/db?sslmode=require&sslpassword=secret")
    'postgresql://me:***@host/db?sslmode=require&***'
    >>> shown_uri("https://me:secret@host/mlflow")
    'https://***@host/mlflow'
    """
    scheme, colon, rest = uri.partition("://")
    if not colon:
        # A connection string of a driver: "host=… password=…".
        return HIDDEN if "@" in uri or "=" in uri else uri
    if _is_http(scheme):
        _, at, place = rest.rpartition("@")
        place, fragment, inside = place.partition("#")
        place, query, _ = place.partition("?")
        return (
            f"{scheme}://{HIDDEN + at if at else ''}{place}"
            f"{query + HIDDEN if query else ''}{fragment}{inside}"
        )
    if "@" not in rest and "?" not in rest:
        return uri
    import sqlalchemy as sa

    try:
        url = sa.make_url(uri)
        if url.password is None and "?" not in rest:
            return uri
        if url.password is not None:
            # A password may hold further @, each of which SQLAlchemy takes for the last one.
            user, _, place = _before_the_host(rest)
            url = sa.make_url(f"{scheme}://{user}:{HIDDEN}@{place}")
        query_ = {name: text for name, text in url.query.items() if name.lower() in HARMLESS}
        hidden = len(query_) < len(url.query) or (not url.query and "?" in rest)
        text = url.set(query=query_).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        return f"{scheme}://{HIDDEN}"
    return f"{text}{'&' if query_ else '?'}{HIDDEN}" if hidden else text


def command_for(uri: str) -> str:
    """Return what stands before a command of MLflow's so that it finds a store.

    >>> command_for("sqlite:///runs.db")
    'MLFLOW_TRACKING_URI=sqlite:///runs.db '
    """
    if os.environ.get("MLFLOW_TRACKING_URI") == uri:
        return ""
    return f"MLFLOW_TRACKING_URI={shlex.quote(shown_uri(uri))} "


def without_password(text: str) -> str:
    """Return a text that is shown or kept without the secrets of the URIs in it.

    They are those of every URI that this process was given, however a library writes them,
    and those of further URIs in the text.
    """
    for uri in sorted(_known, key=len, reverse=True):
        text = text.replace(uri, shown_uri(uri))
    secrets = {secret for uri in _known for secret in _secrets(uri)}
    for secret in sorted(secrets, key=len, reverse=True):
        # As a word: a password "post" is no part of "postgresql". YAML breaks lines at spaces.
        words = r"\s+".join(map(re.escape, re.split(r"\s+", secret)))
        before = r"(?<!\w)" if secret[0].isalnum() else ""
        after = r"(?!\w)" if secret[-1].isalnum() else ""
        text = re.sub(f"{before}{words}{after}", HIDDEN, text)
    return _URL.sub(lambda found: shown_uri(found[0]), text)


def _is_cut(scheme: str, uri: str, rest: str) -> bool:
    """Tell whether a library would take a part of the password for the host."""
    if _is_http(scheme):
        return "@" in "".join(re.split("[/?#]", rest, maxsplit=1)[1:])
    password = _password(uri)
    return password is not None and password != unquote(_before_the_host(rest)[1])


def _is_http(scheme: str) -> bool:
    return scheme.lower() in {"http", "https"}


def _before_the_host(rest: str) -> tuple[str, str, str]:
    """Return user, password and place of what follows ``://``: the last @ ends them."""
    who, _, place = rest.rpartition("@")
    user, _, password = who.partition(":")
    return user, password, place


def _password(uri: str) -> str | None:
    import sqlalchemy as sa

    try:
        found = sa.make_url(uri).password
    except (sa.exc.ArgumentError, ValueError):
        return None
    return None if found is None else str(found)


def _secrets(uri: str) -> Iterator[str]:
    """Yield what must not be seen of a URI, in each way in which it may be written."""
    scheme, _, rest = uri.partition("://")
    user, password, place = _before_the_host(rest)
    found = [password, f"{user}:{password}"] if password else []
    if _is_http(scheme):
        found.append(user)
    query = place.partition("?")[2]
    pairs = [pair.partition("=")[::2] for pair in re.split("[&;]", query)]
    for name, value in [*parse_qsl(query), *pairs]:
        if name.lower() not in HARMLESS:
            found.append(value)
            # One parameter of ODBC holds a connection string.
            inside = [part.partition("=")[::2] for part in unquote_plus(value).split(";")]
            found += [part.strip("{}") for key, part in inside if key.lower() not in HARMLESS]
    for secret in found:
        plain = (secret, unquote(secret), unquote_plus(secret))
        if min(map(len, plain)) >= SHORTEST:
            yield from {*plain, *map(quote, plain), *map(quote_plus, plain)}


def leaks(error: BaseException) -> bool:
    """Tell whether a traceback of this error would show a secret."""
    told = "".join(traceback.format_exception(error))
    return without_password(told) != told
