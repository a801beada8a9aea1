"""Before the first job: do the caches found belong to this run, does the cluster fit, does nothing old still work here?"""

from wildrayzer.cluster import Wanted, cancel_left_over, misfits, read_partitions
from wildrayzer.stages.origins import foreign_caches


def check_origins():
    """Caches of another run."""
    remade = {str(path) for job in workflow.dag.needrun_jobs() for path in job.output}
    return foreign_caches(RUN, rounds=CFG.rounds, masks=mask_jobs(), remade=remade)


def check_cluster():
    """Jobs that the cluster can never run."""
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    return misfits(
        [
            Wanted.of_job(
                job.rule.name, dict(job.resources.items()), threads=job.threads
            )
            for job in jobs
        ],
        read_partitions(),
    )


# hooks run in the main process alone, with the lock of the working directory held, and never in a dry run
onstart:
    on_slurm = workflow.executor_plugin.name == "slurm"
    try:
        faults = check_origins() + (check_cluster() if on_slurm else [])
        if on_slurm and not faults:
            cancel_left_over(workflow.workdir_init)
    except ValueError as error:
        faults = [str(error)]
    if faults:
        raise WorkflowError("\n".join(["nothing was started:", *faults]))
