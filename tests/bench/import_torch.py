"""What every PyTorch script waits for first."""

import torch  # noqa: F401
