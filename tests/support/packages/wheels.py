"""Tiny wheels."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping


def wheel(name: str, version: str, files: Mapping[str, bytes], *, requires: str = "") -> bytes:
    """A wheel of pure Python with these files."""
    folder = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n{needs}"
    every = {
        **files,
        f"{folder}/METADATA": metadata.encode(),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in every.items()
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
        for path, data in {**every, f"{folder}/RECORD": record.encode()}.items():
            opened.writestr(path, data)
    return made.getvalue()
