"""Words instead of Hydra's grammar: ``--slo-ttft-p95 1`` beside ``slo.ttft_p95_s=1``, the help of each verb, completion."""
