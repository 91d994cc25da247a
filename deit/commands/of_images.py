"""What the tasks on the image files of a data set refuse alike: check_data, pack."""

from __future__ import annotations

from deit.lookup.base_run import References


def looks_at_images_alone(task: str, named: References) -> list[str]:
    """No run and no checkpoint has a meaning."""
    if not named.given:
        return []
    return [f"{named} with task={task}: it uses only images; leave out {' and '.join(named.given)}."]
