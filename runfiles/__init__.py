"""The form of a run on disk: file names, columns, units.

This is all that locustfiles, infra and analysis share. Writers and readers take their names from here. The modules of
this folder import nothing but the standard library, so that no folder drags another one in.

One experiment is one folder::

    results/2026-01-31T12-00-00/
        experiment.json              the plan, the machine, and of each round of each deployment what became of it
        host/round-1/                one folder a round of a deployment
            single_pass_run.json     what ran, on what, with what
            single_pass_requests.csv one row a request
            single_pass_replica_stats.csv  one row a sample of a replica
            single_pass_stats.csv    Locust's own files, and its log
            load_*.csv, load_run.json
            system_inference_metrics.csv   the service's own rows, as they were after the single pass
        report.html

Missing is written as an empty field (CSV) or ``null`` (JSON) and never as zero.
"""
