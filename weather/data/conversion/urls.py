"""Sources that are named by a URL: which are read, and what is said of those that are not."""

from __future__ import annotations

import importlib
import re
from urllib.parse import urlsplit

from weather.errors import ConfigError, DataError

#: What each kind of URL is read with, beside zarr and fsspec.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "http": "aiohttp", "https": "aiohttp"}
DOWNLOADS = {"gs": "gcloud storage cp {url} .", "s3": "aws s3 cp {url} .",
             "http": "curl -O {url}", "https": "curl -O {url}"}  # fmt: skip
FILE_SUFFIXES = re.compile(r"\.(nc[34]?|cdf|netcdf|h(df)?5|gri?b[12]?|gb2?|zip|tar|gz)$", re.IGNORECASE)


def is_url(word: str) -> bool:
    """Whether a source is named by a URL; a path never has ``://``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", word) is not None


def scheme_of(url: str) -> str:
    return urlsplit(url).scheme.lower()


def checked(word: str) -> str:
    """A URL of a Zarr store as it is written down: without the slash at its end.

    Raises:
        ConfigError: it names something else, or has what must not be written down.
    """
    scheme, rest = word.split("://", 1)
    scheme = {"gcs": "gs"}.get(scheme.lower(), scheme.lower())
    url = f"{scheme}://{rest.rstrip('/')}"
    if scheme not in PACKAGES:
        raise ConfigError(f"'{scheme}' is not a kind of URL that is read", where=word,
                          rule=f"a path, or a Zarr store at {', '.join(f'{name}://' for name in PACKAGES)}",
                          fix="fetch it first, and name the local copy")  # fmt: skip
    if "@" in urlsplit(url).netloc:
        raise ConfigError("a URL with a user or a password", where=re.sub(r"//[^@]*@", "//...@", url),
                          rule="the URL is written into provenance.json",
                          fix="put them into ~/.netrc, which is looked into")  # fmt: skip
    if re.search(r"[?#*]", rest):
        raise ConfigError("a URL with ?, # or *", where=word, rule="a URL names one Zarr store",
                          fix="name each store; of a signed URL, fetch the store first")  # fmt: skip
    if FILE_SUFFIXES.search(url):
        raise ConfigError("files are not read by URL", where=word,
                          rule="NetCDF and GRIB are read from many places in a file, each of which would be a request; "
                          "Zarr stores are read by URL",
                          fix=f"fetch it first: {DOWNLOADS[scheme].format(url=url)}")  # fmt: skip
    return url


def import_filesystem(url: str) -> None:
    """Import what reads this kind of URL.

    Raises:
        ConfigError: names the package and how to install it.
    """
    for package in ("fsspec", PACKAGES[scheme_of(url)]):
        try:
            importlib.import_module(package)
        except Exception as error:
            raise ConfigError(
                f"the package {package} cannot be imported ({str(error).splitlines()[0]})",
                where=url,
                fix=f"pip install {package}",
            ) from error


def refused(url: str, error: BaseException) -> DataError:
    """The error of a store that may not be read."""
    fix = {
        "gs": "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file",
        "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    }.get(scheme_of(url), "put user and password of this host into ~/.netrc")
    return DataError(
        f"permission is refused ({described(error)})",
        where=url,
        rule="a store is asked for without credentials, and then with those of the environment; servers that do not "
        "list a bucket refuse what is not there, too",
        fix=f"check the URL; {fix}",
    )


def described(error: BaseException) -> str:
    """An error of a library, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")
