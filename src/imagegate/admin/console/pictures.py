"""Pictures on pages: signed links without a host, so that they are always this gateway's own."""

import time
from datetime import datetime
from typing import Any

from imagegate.media import links
from imagegate.settings import Settings


def media_path(settings: Settings, key: bytes, image: dict[str, Any]) -> str | None:
    """`/media/…`, valid IMAGEGATE_LINK_TTL_S; None once the image has gone. image: as `generations.image_json`."""
    now, ends = time.time(), datetime.fromisoformat(image["expires_at"]).timestamp()
    if ends <= now:
        return None
    return links.mint([key], image["object"], min(int(now) + settings.link_ttl_s, int(ends)), "")
