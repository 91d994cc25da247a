"""The published weights of the DeiT paper: where they are, and what they reach.

Names are those of timm and facebookresearch/deit; a file's name ends in the first digits of its SHA-256. Sources: the files
in facebookresearch/deit (models.py, README_deit.md), the teacher in its main.py; accuracies are those its README prints.
"""

from __future__ import annotations

from dataclasses import dataclass

BASE_URL = "https://dl.fbaipublicfiles.com/deit/"


@dataclass(frozen=True)
class Official:
    name: str
    sha256: str  # its first eight digits, as in the file's name
    megabytes: int  # about, 10^6 bytes: four a parameter
    model: str | None  # the option of conf/model/; None for the teacher, which is no DeiT
    top1: float | None  # % on ImageNet's validation images; None where the authors state none with the file
    top5: float | None

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.sha256}.pth"

    @property
    def url(self) -> str:
        return BASE_URL + self.file_name


_FILES = (
    Official("deit_tiny_patch16_224", "a1311bcf", 23, "deit_tiny", 72.202, 91.124),
    Official("deit_small_patch16_224", "cd65a155", 88, "deit_small", 79.854, 94.968),
    Official("deit_base_patch16_224", "b5f2ef4d", 346, "deit_base", 81.846, 95.594),
    Official("deit_tiny_distilled_patch16_224", "b40b3cf7", 24, "deit_tiny_distilled", 74.476, 91.920),
    Official("deit_small_distilled_patch16_224", "649709d9", 90, "deit_small_distilled", 81.164, 95.376),
    Official("deit_base_distilled_patch16_224", "df68dfff", 349, "deit_base_distilled", 83.372, 96.482),
    Official("deit_base_patch16_384", "8de9b5d1", 347, "deit_base_384", 82.890, 96.222),
    Official("deit_base_distilled_patch16_384", "d0272ac0", 351, "deit_base_distilled_384", 85.224, 97.186),
    Official("regnety_160", "a5fe301d", 334, None, None, None),
)
OFFICIAL = {entry.name: entry for entry in _FILES}


def sha256_prefix(file_name: str) -> str | None:
    """What the SHA-256 of a file of this name must begin with; None where it is no official name."""
    return next((entry.sha256 for entry in _FILES if entry.file_name == file_name), None)
