"""Forms with a file in them: every field by its name, and of the file its text, as the field `file`."""

from starlette.requests import Request

from imagegate.errors import InvalidRequest, TooLarge
from imagegate.web.dependencies import services_of
from imagegate.web.uploads import Limits, read_form

MOST_BYTES = 1024 * 1024
FILE = "file"


def has_parts(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_parts(request: Request) -> dict[str, str]:
    """A field `file` that was typed instead of chosen is one as well.

    Raises InvalidRequest, TooLarge and what `uploads.read_form` raises.
    """
    services = services_of(request)
    settings = services.settings.model_copy(update={"max_upload_bytes": MOST_BYTES})
    form = await read_form(request, settings, services.load, Limits({FILE: 1}, MOST_BYTES))
    fields = dict(form.fields)
    for upload in form.files:
        if len(upload.data) > MOST_BYTES:
            raise TooLarge(f"The file may have at most {MOST_BYTES} bytes.")
        try:
            fields[upload.name] = upload.data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest(
                "The file is not UTF-8. Save it as CSV UTF-8.", code="invalid_encoding", param=FILE
            ) from None
    if any("\0" in value for value in fields.values()):
        raise InvalidRequest("The form holds a NUL.", code="invalid_form")
    return fields
