"""Policy step, images: a version or a digest, since what `latest` names changes without a roll-out."""

import re

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"v?[0-9]+\.[0-9]+(\.[0-9]+)?([.-][A-Za-z0-9._-]+)?")
NAME = re.compile(r"[a-z0-9][a-z0-9._/:-]*")


def image_problem(image: str) -> str:
    """Return what is wrong with the reference of an image, or an empty text."""
    reference, _, digest = image.partition("@")
    tag = reference.rpartition("/")[2].partition(":")[2]
    if not NAME.match(reference) or (digest and not DIGEST.fullmatch(digest)):
        return f"{image!r} is no image"
    return "" if digest or VERSION.fullmatch(tag) else f"the image {image} has no version"
