"""The stage `dsa`: gradient matching with Siamese augmentation (DSA)."""

from fsdd.distilling.stages import dc

STAGE = dc.build_stage(
    name="dsa",
    summary="DSA: `dc` with an augmentation that is the same for a class's real and synthetic images",
    title="Siamese gradient matching",
    policy="dsa",
)
