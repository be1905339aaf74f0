"""What several test files of one primitive share."""

from __future__ import annotations

import pytest

from tests.async_support import ACQUIRED, in_loop


@pytest.fixture
def value(space):
    return space.Value("x", "q", 5)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs an async function in a new loop, of either make."""
    return lambda function, *args: in_loop(function, *args, maker=request.param)


@pytest.fixture(params=ACQUIRED)
def thing(request, space):
    """What can be acquired."""
    return ACQUIRED[request.param](space)
