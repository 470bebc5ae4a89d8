"""What the metrics mean: their units, and which values are good."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """The description of a metric for the table of a fit.

    Attributes:
        meaning: what is measured and what is good, in a few words.
        unit: unit of the value as it is shown, such as "dB".
        factor: factor from the metric to the value that is shown, such as 100 for percent.
        is_error: whether lower values are better.
    """

    meaning: str
    unit: str = ""
    factor: float = 1.0
    is_error: bool = False

    def format(self, value: float) -> str:
        """Return a value of the metric with its unit."""
        shown = value * self.factor
        number = f"{shown:,.0f}" if abs(shown) >= 1000 else f"{shown:.5g}"
        return f"{number} {self.unit}".rstrip()


DESCRIPTIONS = {
    "psnr": Description("on the samples; higher is better, 30 is good, 40 excellent", "dB"),
    "psnr_peak_to_peak": Description("the same, relative to the target's range of values", "dB"),
    "psnr_paper": Description("the same, as papers on sine networks count it", "dB"),
    "psnr_between": Description("half-way between the samples; far below psnr, the fit is noisy there", "dB"),
    "psnr_anywhere": Description("at random positions between the samples", "dB"),
    "psnr_held_out": Description("at the samples that were not fitted; higher is better", "dB"),
    "psnr_target": Description("of the noisy target itself; a fit above it has removed noise", "dB"),
    "psnr_noisy": Description("against the noisy samples that are fitted; far above the noise's, it is learnt", "dB"),
    "psnr_held_out_noisy": Description("against the noisy samples that were not fitted", "dB"),
    "stopped_psnr": Description("where the error against the noisy samples falls to the noise", "dB"),
    "stopped_step": Description("at this step"),
    "held_out_stopped_psnr": Description("where the noisy samples that were not fitted are fitted best", "dB"),
    "held_out_stopped_step": Description("at this step"),
    "weights_per_sample": Description("weights of the network for each fitted sample"),
    "snr_derivatives": Description("of the gradient or the Laplacian that was fitted; 20 is good", "dB"),
    "best_snr_derivatives": Description("the best during the run", "dB"),
    "best_snr_derivatives_step": Description("at this step"),
    "best_psnr": Description("the best during the run", "dB"),
    "best_psnr_step": Description("at this step"),
    "best_psnr_held_out": Description("the best during the run", "dB"),
    "best_psnr_held_out_step": Description("at this step"),
    "ssim": Description("similarity of structure; 1 is the best, 0.95 is good"),
    "snr": Description("signal to noise; higher is better, 20 is good", "dB"),
    "si_snr": Description("the same whatever the loudness", "dB"),
    "log_spectral_distance": Description("between the spectra; lower is better, 1 is good", "dB", is_error=True),
    "iou": Description("overlap of the insides; 1 is the best, 0.99 is good"),
    "iou_held_out": Description("the same over the samples that were not fitted"),
    "best_iou": Description("the best during the run, over few points"),
    "best_iou_step": Description("at this step"),
    "sdf_error_near": Description(
        "mean error of the distance near the surface, of the diagonal; lower is better", "%", 100, is_error=True
    ),
    "sdf_error_far": Description("the same elsewhere", "%", 100, is_error=True),
    "distance_to_target": Description(
        "mean distance from the fit to the target, of the diagonal; 0.1 % is good", "%", 100, is_error=True
    ),
    "distance_to_fit": Description("the same from the target to the fit", "%", 100, is_error=True),
    "chamfer_l1": Description("the mean of these two", "%", 100, is_error=True),
    "chamfer_l2": Description("the same as a root mean square", "%", 100, is_error=True),
    "normal_consistency": Description("agreement of the normals; 1 is the best, 0.98 is good"),
    "f_score_0.5%": Description("part of the surfaces within 0.5 % of the diagonal of each other", "%", 100),
    "f_score_1%": Description("part of the surfaces within 1 % of the diagonal of each other", "%", 100),
    "psnr_colour": Description("colours at points of the surface that were never fitted; 30 is good", "dB"),
    "best_psnr_colour": Description("the best during the run, over few points", "dB"),
    "best_psnr_colour_step": Description("at this step"),
    "edge_normal_degrees": Description(
        "angle between the normals at sharp edges; lower is better", "degrees", is_error=True
    ),
    "steps": Description("number of training steps"),
    "bytes": Description("size of the weights", "bytes"),
    "train_seconds": Description("time of training", "s"),
    "points_per_second": Description("speed of training"),
}
"""The descriptions of the metrics by their names; a kind of another package may add those of its own metrics."""


BEST_IS_ONE = ("iou", "iou_held_out", "normal_consistency", "f_score_0.5%", "f_score_1%", "ssim")
"""Metrics whose error is what they lack of 1."""


def describe_metric(name: str) -> Description:
    """Return the description of a metric; one that is not known has neither a meaning nor a unit."""
    return DESCRIPTIONS.get(name, Description(""))


def name_metric(name: str) -> str:
    """Return the name of a metric in words."""
    return name.replace("_", " ")


def label_metric(name: str) -> str:
    """Return the label of an axis that shows a metric: its name in words, with its unit."""
    unit = describe_metric(name).unit
    return name_metric(name) + (f" ({unit})" if unit else "")
