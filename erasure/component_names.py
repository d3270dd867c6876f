"""What the components of a model are called where a file does not say."""

from typing import Final

FIRST_MAIN: Final = "unet"
"""The component of a mask, an edit or a patch that does not name one: in files of the versions that
named none it was always a UNet."""
