import sys
from pathlib import Path

import numpy as np
import pytest

# the helpers are imported as `_oracles`, whatever pytest's import mode is
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
