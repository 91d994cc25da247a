"""The published weights of the papers on DeiT and DeiT III: their addresses and accuracies.

Names are those of timm and facebookresearch/deit; a file's name ends in the first digits of its SHA-256, except for those of
DeiT III, whose checksums are not published. Sources: the files in facebookresearch/deit (models.py, models_v2.py,
README_deit.md, README_revenge.md), the teacher in its main.py; accuracies are those of its READMEs."""

from __future__ import annotations

from dataclasses import dataclass

# Of the images of every file: ImageNet's.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BASE_URL = "https://dl.fbaipublicfiles.com/deit/"


@dataclass(frozen=True)
class Official:
    name: str
    sha256: str | None  # its first eight digits, as in the file's name
    megabytes: int  # about, 10^6 bytes: four per parameter
    model: str | None  # the option of conf/model/; None for the teacher, which is not a DeiT
    top1: float | None  # % on ImageNet's validation images; None if the authors publish none with the file
    top5: float | None
    file: str | None = None  # its name, where it is not made of name and sha256

    @property
    def file_name(self) -> str:
        return self.file or f"{self.name}-{self.sha256}.pth"

    @property
    def hub_name(self) -> str:
        """Its name in timm's collection on Hugging Face's hub."""
        if self.model is None:
            return f"{self.name}.deit_in1k"
        plain = self.name.removesuffix("_in21ft1k")
        return f"{plain}.fb_in1k" if plain == self.name else f"{plain}.fb_in22k_ft_in1k"

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
    Official("deit3_small_patch16_224", None, 88, "deit3_small", 81.4, None, "deit_3_small_224_1k.pth"),
    Official("deit3_small_patch16_384", None, 89, "deit3_small_384", 83.4, None, "deit_3_small_384_1k.pth"),
    Official("deit3_medium_patch16_224", None, 155, "deit3_medium", 83.0, None, "deit_3_medium_224_1k.pth"),
    Official("deit3_base_patch16_224", None, 346, "deit3_base", 83.8, None, "deit_3_base_224_1k.pth"),
    Official("deit3_base_patch16_384", None, 348, "deit3_base_384", 85.0, None, "deit_3_base_384_1k.pth"),
    Official("deit3_large_patch16_224", None, 1217, "deit3_large", 84.9, None, "deit_3_large_224_1k.pth"),
    Official("deit3_large_patch16_384", None, 1219, "deit3_large_384", 85.8, None, "deit_3_large_384_1k.pth"),
    Official("deit3_huge_patch14_224", None, 2529, "deit3_huge", 85.2, None, "deit_3_huge_224_1k.pth"),
    Official("deit3_small_patch16_224_in21ft1k", None, 88, "deit3_small", 83.1, None, "deit_3_small_224_21k.pth"),
    Official("deit3_small_patch16_384_in21ft1k", None, 89, "deit3_small_384", 84.8, None, "deit_3_small_384_21k.pth"),
    Official("deit3_medium_patch16_224_in21ft1k", None, 155, "deit3_medium", 84.5, None, "deit_3_medium_224_21k.pth"),
    Official("deit3_base_patch16_224_in21ft1k", None, 346, "deit3_base", 85.7, None, "deit_3_base_224_21k.pth"),
    Official("deit3_base_patch16_384_in21ft1k", None, 348, "deit3_base_384", 86.7, None, "deit_3_base_384_21k.pth"),
    Official("deit3_large_patch16_224_in21ft1k", None, 1217, "deit3_large", 87.0, None, "deit_3_large_224_21k.pth"),
    Official("deit3_large_patch16_384_in21ft1k", None, 1219, "deit3_large_384", 87.7, None, "deit_3_large_384_21k.pth"),
    Official("deit3_huge_patch14_224_in21ft1k", None, 2529, "deit3_huge", 87.2, None, "deit_3_huge_224_21k_v1.pth"),
    Official("regnety_160", "a5fe301d", 334, None, None, None),
)
OFFICIAL = {entry.name: entry for entry in _FILES}
BY_FILE = {entry.file_name: entry for entry in _FILES}


def of_model(model: str) -> Official | None:
    """The weights of an option of conf/model/, those of the paper's main table if there are several."""
    return next((entry for entry in _FILES if entry.model == model), None)
