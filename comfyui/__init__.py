"""Concept erasure in ComfyUI: patches that `erasure export --to patch` writes, as nodes.

Without ComfyUI around it this package is empty, so that it can be imported and tested anywhere.
"""

from importlib.util import find_spec

__all__: list[str] = []

if find_spec("comfy") is not None and find_spec("comfy_api") is not None:
    from .nodes import comfy_entrypoint

    __all__ += ["comfy_entrypoint"]
