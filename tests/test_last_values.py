from __future__ import annotations

import numpy as np

from nordiq_watch.last_values import last_measured

NAN = float("nan")


def test_the_last_measured_value_is_found() -> None:
    values = np.array([[[1, NAN], [2, NAN], [NAN, NAN]], [[NAN, 3], [NAN, 4], [5, 6]]], dtype=np.float32)
    np.testing.assert_array_equal(last_measured(values), [[2, NAN], [5, 6]])
