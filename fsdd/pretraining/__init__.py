"""Alg. 2 of the paper; it needs what the package's extra `pretraining` brings."""

from fsdd.errors import require

require("pretraining", "pre-training a translator", "array_record", "grain", "safetensors")
