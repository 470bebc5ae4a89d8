"""The frequency that the training photographs of a nerfstudio data manager resolve at the photographed object."""

import math

import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_utils import focus_of_attention
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.model_components.renderers import RGBRenderer
from torch import Tensor

from ...winner.photos import SceneFrequency, scene_frequency

MOST_PHOTOS = 32
"""Largest number of photographs that are analysed; of a larger set, this many are taken at even steps."""
PER_FOCAL = {
    CameraType.EQUIRECTANGULAR: 1 / math.pi,
    CameraType.OMNIDIRECTIONALSTEREO_L: 1 / math.pi,
    CameraType.OMNIDIRECTIONALSTEREO_R: 1 / math.pi,
    CameraType.VR180_L: 2 / math.pi,
    CameraType.VR180_R: 2 / math.pi,
}
"""Pixels per radian over ``fx``, where these are not the same: nerfstudio takes ``pi / fx`` radians for a pixel of the
whole sphere."""


def photographed_frequency(datamanager: VanillaDataManager, background: RGBRenderer | None = None) -> SceneFrequency:
    """Compute the angular frequency that the training photographs of a data manager resolve, see `scene_frequency`.

    Args:
        datamanager: a data manager of nerfstudio's whose data are photographs.
        background: a renderer whose ``blend_background`` fills transparent pixels; if left out, they become black.

    Returns:
        The mean spectral centroid of the photographs, and the same as an angular frequency in radians per scene unit.

    Raises:
        ValueError: the data manager has no photographs, or one of them holds values that are not finite.
    """
    dataset = datamanager.train_dataset
    indices = torch.linspace(0, len(dataset) - 1, min(len(dataset), MOST_PHOTOS)).round().long()
    distances = measure_distances(dataset.cameras, dataset.scene_box.aabb)
    focals = count_pixels_per_radian(dataset.cameras, distances)[indices].tolist()
    images = (load_photograph(dataset, index, background) for index in indices.tolist())
    return scene_frequency(images, focals, distances[indices].tolist())


def load_photograph(dataset: InputDataset, index: int, background: RGBRenderer | None) -> Float[Tensor, "h w 3"]:
    """Load one photograph of a data set with values in [0, 1], its transparent pixels filled with the background."""
    image: Tensor = dataset.get_image_float32(index)
    if image.shape[-1] < 4:
        return image
    if background is None:
        return image[..., :3] * image[..., 3:]
    return background.blend_background(image)


def count_pixels_per_radian(cameras: Cameras, distances: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Compute how many pixels there are per radian where each camera looks, which for most is the focal length.

    A pixel of an orthographic camera is ``1 / fx`` scene units wide at any distance.

    Args:
        cameras: the cameras of the photographs.
        distances: how far each is from what it looks at, scene units.

    Returns:
        The pixels per radian, [n], in double precision on the CPU.
    """
    focals, types = cameras.fx.flatten().cpu().double(), cameras.camera_type.flatten().cpu()
    scales: dict[CameraType, float | Tensor] = {**PER_FOCAL, CameraType.ORTHOPHOTO: distances}
    for model, scale in scales.items():
        focals = torch.where(types == model.value, focals * scale, focals)
    return focals


def measure_distances(cameras: Cameras, aabb: Float[Tensor, "2 3"]) -> Float[Tensor, " n"]:
    """Measure how far each camera is from what it looks at.

    All cameras are taken to look at one point: the point nearest to all optical axes, moved into the scene box if it
    lies outside. Half the longest side of the box is returned for every camera instead if there is no such point
    because the axes are parallel, or if fewer than half of the cameras have it in front of them, as in a room that is
    photographed from inside.

    Args:
        cameras: the cameras of the photographs.
        aabb: smallest and largest corner of the scene box, scene units.

    Returns:
        The distances in scene units, [n], in double precision on the CPU.
    """
    poses, aabb = cameras.camera_to_worlds.cpu().double(), aabb.cpu().double()
    positions, directions = poses[:, :, 3], -poses[:, :, 2]
    half_side = (aabb[1] - aabb[0]).max() / 2
    fallback = half_side.expand(len(positions)).clone()
    try:
        focus = focus_of_attention(poses.float(), aabb.mean(0).float()).double()
    except RuntimeError:  # torch's LinAlgError: the axes are parallel
        return fallback
    offsets = focus.clamp(aabb[0], aabb[1]) - positions
    if ((offsets * directions).sum(-1) > 0).double().mean() < 0.5:
        return fallback
    distances: Tensor = offsets.norm(dim=-1).clamp(min=1e-3 * float(half_side))
    return distances
