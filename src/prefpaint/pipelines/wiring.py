"""How nodes are given their datasets."""


def named(*datasets: str, **others: str) -> dict[str, str]:
    """Inputs of a node by keyword.

    Args:
        datasets: those whose names are the node's arguments too.
        others: by argument.
    """
    return {name: name for name in datasets} | others
