"""What the tasks on the image files of a data set reject: check_data, pack."""

from __future__ import annotations

from deit.lookup.base_run import References


def looks_at_images_alone(task: str, named: References) -> list[str]:
    """Runs and checkpoints have no meaning."""
    if not named.given:
        return []
    return [f"{named} with task={task}: it uses only images; leave out {' and '.join(named.given)}."]
