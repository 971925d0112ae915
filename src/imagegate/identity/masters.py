"""Where the master secrets come from, newest first, and which of them are too easily guessed to be one."""

import os
import secrets
from itertools import pairwise
from pathlib import Path

from imagegate.errors import OperatorError
from imagegate.settings import Settings

LEAST_BYTES = 32
HINT = "Make one with: imagegate secret new"
WELL_KNOWN = (
    b"change",
    b"secret",
    b"passw",
    b"example",
    b"default",
    b"imagegate",
    b"replace",
    b"letmein",
    b"insert",
    b"qwert",
    b"asdfg",
    b"abcdef",
    b"123456",
    b"openssl",
    b"lorem ipsum",
    b"correcthorse",
)
"""Words of examples, ours among them, and of lists of passwords."""
PAIRS_LOOKED_AT = 60


def load_masters(settings: Settings) -> tuple[bytes, ...]:
    """IMAGEGATE_SECRET and, while secrets change, IMAGEGATE_SECRET_PREVIOUS; or those of the data directory.

    In embedded mode without IMAGEGATE_SECRET one is made once, in the file `secret` of the data directory (mode 0600).
    Raises OperatorError when one is missing, shorter than 32 bytes or guessable.
    """
    if settings.secret is not None:
        newest = checked("IMAGEGATE_SECRET", settings.secret.get_secret_value().encode())
        if settings.secret_previous is None:
            return (newest,)
        previous = settings.secret_previous.get_secret_value().encode()
        if previous == newest:
            raise OperatorError(
                "IMAGEGATE_SECRET_PREVIOUS is the same as IMAGEGATE_SECRET. Remove it, or let IMAGEGATE_SECRET be a "
                f"new one. {HINT}"
            )
        return newest, checked("IMAGEGATE_SECRET_PREVIOUS", previous)
    if settings.secret_previous is not None:
        raise OperatorError("IMAGEGATE_SECRET_PREVIOUS is set without IMAGEGATE_SECRET. " + HINT)
    if not settings.embedded:
        raise OperatorError(f"IMAGEGATE_SECRET is needed together with IMAGEGATE_DATABASE_URL. {HINT}")
    return own_masters(own_file(settings))


def checked(variable: str, master: bytes) -> bytes:
    """Raises OperatorError."""
    if len(master) < LEAST_BYTES:
        raise OperatorError(f"{variable} is shorter than {LEAST_BYTES} bytes. {HINT}")
    if is_guessable(master):
        raise OperatorError(f"{variable} can be guessed. {HINT}")
    return master


def is_guessable(master: bytes) -> bool:
    """Few characters, a word that everybody knows, something over and over, or a row of neighbours.

    What a random source gives as hex or base64 passes: of its pairs of neighbours few are alike, and few are steps of
    one in the alphabet.
    """
    pairs = list(pairwise(master))
    steps = sum(abs(one - next_) <= 1 for one, next_ in pairs)
    repeated = len(set(pairs)) < min(len(pairs), PAIRS_LOOKED_AT) // 2
    known = any(word in master.lower() for word in WELL_KNOWN)
    return len(set(master)) < 10 or known or repeated or steps * 2 > len(pairs)


def new_master() -> str:
    """64 characters with 384 bits of chance."""
    while is_guessable(
        (master := secrets.token_urlsafe(48)).encode()
    ):  # one in thousands holds a word by chance
        pass
    return master


def own_file(settings: Settings) -> Path:
    return settings.data_dir / "secret"


def own_masters(path: Path) -> tuple[bytes, ...]:
    """Those of the file, newest first, one a line. Made whole where there is none: two first starts agree.

    Raises OperatorError for a file with nothing in it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = written(path, (new_master().encode(),))
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    masters = tuple(path.read_bytes().split())
    if not masters:
        raise OperatorError(f"{path} is empty. Put the secret back that this database was set up with.")
    return masters


def replace_own(path: Path, masters: tuple[bytes, ...]) -> None:
    """The file holds these and no others from now on, whatever breaks meanwhile."""
    os.replace(written(path, masters), path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def written(path: Path, masters: tuple[bytes, ...]) -> Path:
    """A file beside `path`, for the owner alone, that is on the disk."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"\n".join(masters))
        file.flush()
        os.fsync(file.fileno())
    return aside
