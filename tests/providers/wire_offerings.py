"""What the packaged catalogue has of one provider, and sizes to ask for."""

from imagegate.catalogue.reading import read_documents
from imagegate.domain import Offering, Size

SIZES = tuple(
    Size(*edges)
    for edges in (
        (1024, 1024),
        (1536, 864),
        (864, 1536),
        (512, 512),
        (4096, 4096),
        (1024, 4096),
        (640, 1388),
        (640, 96),
    )
)


def offerings(provider: str) -> list[Offering]:
    _, entries = read_documents(None)
    sold = (offering for entry in entries.values() for offering in entry.model.offerings)
    return [offering for offering in sold if offering.provider == provider]
