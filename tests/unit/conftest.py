"""What several test files of one primitive share."""

from __future__ import annotations

import pytest


@pytest.fixture
def value(space):
    return space.Value("x", "q", 5)
