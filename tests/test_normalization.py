import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from winner_nerfstudio.signals.normalization import Normalization

coordinate = st.floats(-1e6, 1e6)
boxes = arrays(np.float64, (2, 3), elements=coordinate).filter(lambda box: np.ptp(box, axis=0).max() > 1e-3)


@given(boxes, st.floats(0, 0.9), arrays(np.float64, (7, 3), elements=coordinate))
def test_there_and_back_is_where_it_was(box, margin, points):
    way = Normalization.to_cube(box.min(0), box.max(0), margin)
    size = max(np.abs(box).max(), np.abs(points).max(), 1)
    np.testing.assert_allclose(way.to_world(way.to_unit(points)), points, atol=1e-9 * size)


@given(boxes, st.floats(0, 0.9))
def test_the_box_is_centred_and_touches_the_margin_on_its_longest_side_only(box, margin):
    way = Normalization.to_cube(box.min(0), box.max(0), margin)
    low, high = way.to_unit(box.min(0)), way.to_unit(box.max(0))
    np.testing.assert_allclose(low, -high, atol=1e-6)
    np.testing.assert_allclose(high.max(), 1 - margin, rtol=1e-6)


@given(boxes)
def test_distances_scale_by_the_scale(box):
    way = Normalization.to_cube(box.min(0), box.max(0), 0.1)
    world = np.linalg.norm(box[1] - box[0])
    unit = np.linalg.norm(way.to_unit(box[1]) - way.to_unit(box[0]))
    np.testing.assert_allclose(unit, world * way.scale, rtol=1e-6)
