"""URLs by which a caller could make the gateway look around in its own network. `{port}`: a listener on loopback."""

from collections.abc import Iterator
from urllib.parse import quote

SPELLINGS_OF_LOOPBACK = (
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "0177.0x0.0.1",
    "00000127.0.0.1",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST.",
    "localhost.localdomain",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "127。0。0。1",
    "127．0．0．1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "0.0.0.0",
    "0",
    "[::]",
)
PRIVATE_PLACES = (
    "169.254.169.254/latest/meta-data/",  # AWS, Azure, Google, DigitalOcean, OpenStack
    "2852039166/latest/meta-data/",
    "0xa9fea9fe/latest/meta-data/",
    "0251.0376.0251.0376/latest/meta-data/",
    "[::ffff:a9fe:a9fe]/latest/meta-data/",
    "[fd00:ec2::254]/latest/meta-data/",  # AWS over IPv6
    "[fd20:ce::254]/computeMetadata/v1/",  # Google over IPv6
    "100.100.100.200/latest/meta-data/",  # Alibaba
    "168.63.129.16/machine",  # Azure's own service
    "192.0.0.192/opc/v2/instance/",  # Oracle
    "metadata.google.internal/computeMetadata/v1/",
    "10.0.0.1/",
    "172.16.0.1/",
    "172.31.255.254/",
    "192.168.0.1/",
    "100.64.0.1/",
    "198.18.0.1/",
    "192.88.99.1/",
    "224.0.0.1/",
    "239.255.255.250/",
    "240.0.0.1/",
    "255.255.255.255/",
    "[fc00::1]/",
    "[fdff::1]/",
    "[fe80::1]/",
    "[fe80::1%25eth0]/",
    "[fec0::1]/",
    "[ff02::1]/",
    "[2001:db8::1]/",
    "[2002:a9fe:a9fe::]/",
)
DISGUISES = (
    "http://public.example@127.0.0.1/",
    "http://public.example:80@127.0.0.1/",
    "http://1.1.1.1%2f@127.0.0.1/",
    "http://1.1.1.1\\@127.0.0.1/",
    "http://127.0.0.1\\@1.1.1.1/",
    "http://127.0.0.1#@1.1.1.1/",
    "http://127.0.0.1?@1.1.1.1/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\n/",
    "http://127.0\r\n.0.1/",
    "http://1.1.1.1\r\nHost: 127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.public.example/",
    "http://127%2e0%2e0%2e1/",
    "http://user:password@1.1.1.1/",
    "http://1.1.1.1:22/",
    "http://1.1.1.1:6379/",
    "http://1.1.1.1:0/",
    "https://1.1.1.1:80/",
    "http://1.1.1.1:99999/",
    "http://[1.1.1.1]/",
    "http://[::1/",
    "http:///",
    "http://",
    "http:127.0.0.1",
    "https://" + "a" * 9000 + ".example/",
)
OTHER_SCHEMES = (
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "ftp://127.0.0.1/a.png",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/a.png",
    "blob:http://127.0.0.1/3e1c",
    "unix:///var/run/docker.sock",
    "javascript:alert(1)",
    "view-source:http://127.0.0.1/",
    "ws://127.0.0.1/",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
)


def corpus(port: int) -> Iterator[str]:
    for place in SPELLINGS_OF_LOOPBACK:
        yield f"http://{place}/"
        yield f"http://{place}:{port}/"
    yield from (f"http://{place}" for place in PRIVATE_PLACES)
    yield from DISGUISES
    yield f"http://public.example@127.0.0.1:{port}/"
    yield from OTHER_SCHEMES
    yield f"http://1.1.1.1:{port}/{quote('http://127.0.0.1/')}"
