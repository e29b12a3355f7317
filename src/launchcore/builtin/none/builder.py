"""A builder for agents that never build."""

from __future__ import annotations

from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    Fault,
    Given,
    ImageRef,
    LaunchError,
    Reason,
    StageContext,
)


class NoBuilder:
    """Refuses to build, with advice."""

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        """:raises LaunchError: ``build_failed``, always."""
        raise LaunchError(
            "this run needs an image, and the builder 'none' builds none",
            reason=Reason.BUILD_FAILED,
            fault=Fault.USER,
            hint="submit a ready image (--image), use a queue of type 'process', "
            "or give the queue or the agent another builder (builder.type)",
        )

    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        """:raises LaunchError: ``push_failed``, always: it has built nothing."""
        raise LaunchError(
            "the builder 'none' has nothing to push", reason=Reason.PUSH_FAILED, fault=Fault.CORE
        )

    def cleanup(self, attempt_id: str) -> None:
        """It leaves nothing behind."""
