"""Pictures of paths and of their cross-validation; matplotlib is imported when one is drawn."""

from ._cv_path import CVPathDisplay
from ._outlier_path import OutlierPathDisplay
from ._regularization_path import RegularizationPathDisplay

__all__ = ["CVPathDisplay", "OutlierPathDisplay", "RegularizationPathDisplay"]
