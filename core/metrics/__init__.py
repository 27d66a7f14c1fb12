"""How good a model is, and how sure that is: scores as their fields define them.

Whatever is scored image by image or scan by scan comes as one array an image, in a list. A score
that has no answer (the recall where there is nothing to find) is None, in arrays NaN, and never
an invented 0 or 1; each function says when.
"""

from fieldsight.core.metrics.alarms import Alarms, Hits, alarms, match_tracks
from fieldsight.core.metrics.area_estimates import AreaEstimates, Estimates, area_estimates
from fieldsight.core.metrics.calibration import (
    Reliability,
    expected_calibration_error,
    fit_temperature,
    reliability,
    top_label,
)
from fieldsight.core.metrics.coco import CocoScores, coco_scores
from fieldsight.core.metrics.counting import CountErrors, count_errors
from fieldsight.core.metrics.froc import FROC_RATES, Froc, froc
from fieldsight.core.metrics.intervals import (
    Interval,
    bootstrap,
    paired_difference_interval,
    proportion_interval,
    rate_interval,
)
from fieldsight.core.metrics.labels import (
    average_precision,
    f_scores,
    log_loss,
    mean_f_score,
    roc_auc,
)
from fieldsight.core.metrics.objects import ObjectMatches, match_objects
from fieldsight.core.metrics.points import PointMatches, PointScores, match_points
from fieldsight.core.metrics.tracks import Tracks, TrackScores, track_scores, without_ignored

__all__ = [
    "FROC_RATES",
    "Alarms",
    "AreaEstimates",
    "CocoScores",
    "CountErrors",
    "Estimates",
    "Froc",
    "Hits",
    "Interval",
    "ObjectMatches",
    "PointMatches",
    "PointScores",
    "Reliability",
    "TrackScores",
    "Tracks",
    "alarms",
    "area_estimates",
    "average_precision",
    "bootstrap",
    "coco_scores",
    "count_errors",
    "expected_calibration_error",
    "f_scores",
    "fit_temperature",
    "froc",
    "log_loss",
    "match_objects",
    "match_points",
    "match_tracks",
    "mean_f_score",
    "paired_difference_interval",
    "proportion_interval",
    "rate_interval",
    "reliability",
    "roc_auc",
    "top_label",
    "track_scores",
    "without_ignored",
]
