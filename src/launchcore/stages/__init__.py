"""The journey of one attempt, one file a stage, in order.

    s0_claim    Claim      → Chosen       components by name, secrets, the run's fields checked
    s1_source   Chosen     → SourceTree   fetched and pinned; nothing for a ready image
    s2_build    SourceTree → BuiltImage   contributions collected, builder called, where one is needed
    s3_push     BuiltImage → ImageRef     pinned by digest
    s4_execute  ImageRef   → RunHandle    started, and the handle stored at once
    s5_report   RunStatus  → Outcome      what its end means

:mod:`launchcore.stages.journey` walks the first five; the agent's monitor comes back for the last.
"""
