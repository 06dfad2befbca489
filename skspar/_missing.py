"""What stands for a label that is not known."""


def is_missing(label):
    """Whether a label is None, NaN, or pandas' NA."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)
