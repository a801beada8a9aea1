"""Before the first job: caches belong to this run, jobs fit the cluster, and no job of a killed call still runs."""

from wildrayzer.tools.cluster.resources import (
    JobRequest,
    read_partitions,
    unschedulable,
)
from wildrayzer.tools.cluster.leftover_jobs import cancel_left_over
from wildrayzer.run.origins import foreign_caches
from wildrayzer.run.continuation import (
    continuation_faults,
    continuation_lines,
    continued_stages,
)
from wildrayzer.run.redo import refusals, repeated_jobs, report_lines


def check_origins():
    """Caches of another run."""
    remade = {str(path) for job in workflow.dag.needrun_jobs() for path in job.output}
    return foreign_caches(RUN, rounds=CFG.rounds, masks=mask_jobs(), remade=remade)


def check_cluster():
    """Jobs that the cluster can never run."""
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    return unschedulable(
        [
            JobRequest.of_job(
                job.rule.name, dict(job.resources.items()), threads=job.threads
            )
            for job in jobs
        ],
        read_partitions(),
    )


def check_arrays():
    """Job arrays of the executor: it loses jobs when Snakemake selects only some of those that are ready."""
    arrays = workflow.executor_settings.array_jobs
    jobs = workflow.resource_settings.nodes
    rate = workflow.scheduling_settings.max_jobs_per_timespan
    count = sum(not job.is_local for job in workflow.dag.needrun_jobs())
    if not arrays or count <= min(jobs, rate.max_jobs if rate else jobs):
        return []
    return [
        f"slurm-array-jobs = {arrays!r}: the executor would lose jobs and never end (docs/cluster.md); leave it out, "
        f"or set jobs and max-jobs-per-timespan to at least the {count} jobs of this call"
    ]


def check_public_files():
    """Public files that the comparison with published figures lacks, each with what to do and what to accept where."""
    if CFG.released is None:
        return []
    # Read here, since it takes a second, and every job reads this file.
    from wildrayzer.datasets.check import check_run

    missed = [finding for finding in check_run(CFG, TABLE) if finding.state == "miss"]
    return [f"{one.option} = {one.what}: {one.found}; {one.fix}" for one in missed]


def check_continued_data():
    """Data that continued stages have learned from and that are gone, or that this call would make again."""
    if config.get("continue") is None:
        return []
    from wildrayzer.config.effects import completed
    from wildrayzer.stages.prepare import kept_parts
    from wildrayzer.tools.continued_data import continued_data_faults

    def planned(job):
        options = completed(job.params.split, CFG.data.splits[job.wildcards.split])
        return kept_parts(
            options,
            options.path or job.input.raw,
            job.output.store,
            image_size=job.params.image_size,
            store=completed(job.params.store, CFG.data.store),
        )

    return continued_data_faults(workflow.dag, CFG, config["continue"], planned)


# Hooks run only in the main process, while the working directory is locked, and never in a dry run.
onstart:
    on_slurm = workflow.executor_plugin.name == "slurm"
    try:
        continued = continued_stages(workflow.dag, CFG, config.get("continue"))
        names = {one.name for one in continued}
        again = [
            job for job in repeated_jobs(workflow.dag) if job.stage not in names
        ]
        faults = (
            check_public_files()
            + check_origins()
            + continuation_faults(continued, again, rounds=CFG.rounds)
            + check_continued_data()
            + refusals(again, redo=config.get("redo"))
        )
        faults += check_arrays() + check_cluster() if on_slurm else []
        if not faults:
            for line in report_lines(again) + continuation_lines(continued):
                logger.warning(line)
        if on_slurm and not faults:
            cancel_left_over(
                workflow.workdir_init, workflow.scheduler._executor.run_uuid
            )
    except ValueError as error:
        faults = [str(error)]
    if faults:
        raise WorkflowError("\n".join(["nothing was started:", *faults]))
