"""Paths that are URLs, which are named as what they are: the toolkit reads and writes local files."""

from __future__ import annotations

import os
import re
import shlex

from toolkit.errors import PublishError, ReadError

_URL = re.compile(r"(?s)([A-Za-z][A-Za-z0-9+.-]+):/(/?)/*(.*)")
_SCHEMES = {
    "gs": "gcloud storage cp -r {all} .",
    "s3": "aws s3 cp --recursive {folder} . --exclude '*' --include {names}",
    "http": "curl -LO {url}",
    "https": "curl -LO {url}",
    "ftp": "curl -LO {url}",
    "hdfs": "hdfs dfs -get {url}",
    "az": "az storage copy --recursive -s {url} -d .",
    "abfs": "az storage copy --recursive -s {url} -d .",
    "abfss": "az storage copy --recursive -s {url} -d .",
    "hf": "hf download {rest}",
    "file": "",
}
"""What copies the files of each scheme to this machine."""


def refuse_url(path: str) -> None:
    """Raise if `path` is a URL, one with a slash missing included.

    Args:
        path: What is to be read; nothing of this name exists.

    Raises:
        ReadError: It is one; the hint says how to copy its files.
    """
    match = _match(path)
    if match is None:
        return
    scheme, rest = match[1].lower(), match[3]
    if scheme == "file":
        raise ReadError(
            f"{path}: a URL: expected a path", path=path, hint=f"give {shlex.quote('/' + rest.lstrip('/'))}"
        )
    url = f"{scheme}://{rest}".rstrip("/")
    mistyped = "" if match[2] else f", with a slash missing ({url})"
    folder, _, name = url.rpartition("/")
    parts = {"url": url, "rest": rest, "all": f"{url}*", "folder": f"{folder}/", "names": f"{name}*"}
    copy = _SCHEMES.get(scheme, "").format_map({key: shlex.quote(part) for key, part in parts.items()})
    how = f": {copy}" if copy else ""
    raise ReadError(
        f"{path}: a URL{mistyped}: expected a path: only local files are read",
        path=path,
        hint=f"copy all its files to this machine first{how}",
    )


def refuse_url_to_write(path: str) -> None:
    """Raise if `path` is a URL, one with a slash missing included.

    Args:
        path: What is to be written.

    Raises:
        PublishError: It is one, and there is no directory of this name.
    """
    if _match(path) is not None and not any(map(os.path.isdir, (path, os.path.dirname(path)))):
        raise PublishError(
            f"{path}: a URL: expected a path: only local files are written",
            path=path,
            hint="write to a path, and copy the files there",
        )


def _match(path: str) -> re.Match[str] | None:
    """Return scheme, second slash and the rest of a URL; `None` for any other path."""
    match = _URL.match(path)
    return match if match is not None and (match[1].lower() in _SCHEMES or match[2]) else None
