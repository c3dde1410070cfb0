"""Several processes, on one host or many, that share a workdir."""

import jax

from fsdd.errors import UserError


def connect(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the other processes of a job; call it before anything is computed.

    Args:
        coordinator: HOST:PORT of process 0. Without it JAX finds all three where it knows the cluster: SLURM, Open MPI,
            Kubernetes and TPU pods.
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        UserError: the cluster is unknown, or the others cannot be reached.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--distributed or --coordinator: {reason}; allowed: a cluster that JAX knows, or --coordinator, "
            "--processes and --process of processes that reach each other"
        ) from error
