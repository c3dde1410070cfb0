"""The fields of the real set, of what a synthetic set starts from, and of what is stored of it."""

from fsdd.config import values
from fsdd.config.fields import PROTOCOLS, SEED, Field, by_protocol

DATA: dict[str, Field] = {
    "protocol": Field(
        None,
        values.one_of(*PROTOCOLS),
        "Settings that fill what a config leaves open: those of FRePo's PyTorch or JAX code, the best of both as "
        "measured, the same with networks whose dense layer is fitted in closed form, before all layers train or "
        "in place of that, those for sets that will be used as plain pixels, or those of DC, of DSA and DM, of "
        "IDC, of MTT or of RTP; by default that of the first stage: dc for dc and dd, dsa for dsa and dm, mtt for "
        "experts, its own for idc and rtp, else recommended.",
    ),
    "dataset": Field(
        "cifar10",
        values.text("a TFDS name, hf:NAME, an image folder, an .npz file, .npy files or digits"),
        "The real set.",
    ),
    "data_dir": Field(
        None, values.text("the path of a folder"), "Where TFDS, or datasets, keeps prepared sets.", optional=True
    ),
    "image_size": Field(
        0, values.whole(0, 4096), "Side in pixels to which images are cropped and resized; 0 keeps their size."
    ),
    "pixel_range": Field(
        (),
        values.pair(-1e12, 1e12, "(), or two different numbers"),
        "The numbers that are black and white in arrays and in images of more than 8 bits; () takes 0 and 1 of "
        "floats, 0 and 255 of 8-bit values, and no others.",
    ),
    "alpha_background": Field(
        (255, 255, 255),
        values.wholes(0, 255, "three whole numbers: red, green and blue", lengths=(3,)),
        "The colour on which transparent images are laid.",
    ),
    "picture_bands": Field(
        (),
        values.wholes(0, 10**4, "(), or one or three whole numbers", lengths=(0, 1, 3)),
        "The bands, from 0, that pictures show as red, green and blue, or the one in grey; () shows the first "
        "three, or the first where there are fewer.",
    ),
    "test_fraction": Field(
        0.2, values.fraction(), "Part of each class that is held out for the test where there is no test split."
    ),
    "validation_fraction": Field(
        0.0,
        values.fraction(),
        "If above 0, this part of each class's training images replaces the test split, to choose settings.",
    ),
    "classes": Field(
        (),
        values.wholes(0, 10**6, "(), or two or more different whole numbers"),
        "Labels of the classes to keep, which are then numbered in this order; () keeps all.",
    ),
    "mirror": Field(
        None,
        values.truth(),
        "Whether the mirror image of an image is as good; by default not for sets that are called like those of "
        "digits and letters, whatever the path: digits, mnist, fashion_mnist, kmnist, emnist, svhn, svhn_cropped.",
    ),
    "ipc": Field(1, values.whole(1, 10**5), "Synthetic images per class (IPC), in images of full size."),
    "factor": Field(
        1,
        values.one_of(1, 2, 4),
        "Side of the images that networks see over that of the stored ones; 2 stores 4 times as many images (DS).",
    ),
    "balanced": Field(
        None,
        values.truth(),
        "Whether distill, translate and refine draw real images so that classes count alike, however many each "
        "has; by default where some class has half as many again as another.",
        optional=True,
    ),
    "start": Field(
        by_protocol(frepo_torch="random", frepo_jax="random", dc="noise", dsa="random", idc="first", rtp="grey"),
        values.one_of("random", "herding", "first", "noise", "grey"),
        "What the synthetic set starts from: real images, drawn, herded or the first of each class, standard "
        "normal noise, or RTP's nearly uniform grey.",
    ),
    "seed": Field(0, SEED, "Root of all randomness but that of the one fixed network."),
    "shared_seed": Field(
        None,
        SEED,
        "Root of what sets of several seeds share: the networks, real images and batches of stages, and what is held "
        "out; by default `seed`, which otherwise determines the start and the networks that score.",
        optional=True,
    ),
    "seeds": Field(
        (),
        values.wholes(0, 2**32 - 1, "(), or two or more different whole numbers"),
        "Distils a set for each of these seeds, side by side in the same networks, each in a folder `seedN` of the "
        "workdir; it is the set of a run with `seed` N and, as `shared_seed`, this run's.",
    ),
    "whitening.kind": Field(
        by_protocol(frepo_torch="auto", frepo_jax="auto", plain_pixels="standardize"),
        values.one_of("auto", "zca", "mtt_zca", "standardize", "dc_cifar10", "dc_cifar100"),
        "How images are whitened; auto is ZCA for colour images and standardisation for grey ones, mtt_zca is ZCA "
        "of pixels that are not standardised before, as the protocol mtt has it for CIFAR-10 below 50 images per "
        "class and for CIFAR-100 but for 10 to 49, dc_cifar10 and dc_cifar100 standardise by the constants of DC's "
        "code, as the protocols dc, dsa and rtp do for these sets, and idc for both by the first.",
    ),
    "whitening.regularisation": Field(
        0.1,
        values.above(0, 10**6),
        "Added to the eigenvalues of ZCA, as a multiple of their mean; by mtt_zca as it is.",
    ),
    "labels": Field(
        by_protocol(frepo_torch="learned", frepo_jax="learned", plain_pixels="hard"),
        values.one_of("learned", "hard"),
        "Whether labels move with the images or stay those of the classes.",
    ),
}
