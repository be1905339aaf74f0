"""The extension, or where the platform has none, what stands in for it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from interlock import _engine as native
else:
    try:
        from interlock import _engine as native
    except ImportError:
        if sys.platform == "linux":
            raise
        from interlock import _elsewhere as native

__all__ = ["native"]
