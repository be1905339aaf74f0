"""How Sphinx makes the site: `python3 dev.py docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from interlock import __version__
from interlock.engine import native

project = "interlock"
author = "The interlock maintainers"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "commands", "docstrings"]
exclude_patterns = ["_ext", "_static", "pictures"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"interlock {__version__}"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {"layout_version": str(native.LAYOUT_VERSION), "slots_limit": str(native.SLOTS_LIMIT)}

default_role = "code"
autodoc_typehints = "none"  # the docstrings say what is to be given, and in which unit
autodoc_member_order = "bysource"
napoleon_use_ivar = True
pygments_style = "friendly"
