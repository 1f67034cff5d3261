from __future__ import annotations

import pytest

from sandbox.media import measure
from sandbox.media.sample.speech import speech


def test_two_voices_do_not_correlate() -> None:
    one, two = (speech(2.0, seed=seed, pitch=150.0)[:, 0] for seed in (1, 2))
    assert abs(measure.correlation(one, two)) < 0.2
    assert measure.correlation(one, one) == pytest.approx(1)
