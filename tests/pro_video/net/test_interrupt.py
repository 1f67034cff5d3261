"""An interrupt ends pauses, and its children keep its deadline."""

from __future__ import annotations

import pytest

from pro_video.core.errors import DeadlineExceeded
from pro_video.net.interrupt import Interrupt


def test_a_child_ends_with_its_parent() -> None:
    interrupt = Interrupt(60)
    child = interrupt.child()
    child.pause(0)
    interrupt.check()
    late = Interrupt(0.01).child()
    with pytest.raises(DeadlineExceeded):
        late.pause(5)
