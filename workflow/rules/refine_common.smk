"""What the rules of the refinement share."""


def mask_receipts(wildcards):
    """Receipts of the jobs that make a split's parts before they are listed; none where one job does both."""
    where = (wildcards.round, wildcards.split, wildcards.predictor)
    jobs = job_names(wildcards.split, "refine")
    return [RUN.mask_receipt(*where, *job) for job in jobs] if len(jobs) > 1 else []
