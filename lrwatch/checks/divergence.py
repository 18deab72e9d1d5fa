"""The loss climbed above what had been reached and stays there.

What it checks
    Levels of the training loss (medians of 8 rows and more) against the best level that the run had reached at a
    learning rate about as high. Divergence is a rise of more than 6 standard deviations of the run's own noise and of
    more than a tenth of its progress; or, at any learning rate, of 7 tenths of all progress (and of 4 standard
    deviations, 6 if it had come down and stood as high again for a fifth of the run before); or to 4 times the loss of
    the first rows; that lasts for at least 64 rows and a twentieth of the run. It is an error once half of all progress
    is gone or it lasts for a quarter of the run; what came back is a warning. The first 96 rows are excepted, for want
    of a history; so is a resume from a much earlier checkpoint. In the last quarter of the schedule the same is
    reported as ``late-divergence``.

Why it matters
    A run that has diverged hardly ever comes back by itself, and every hour after it is lost.

Example
    divergence: the loss climbed from 2.06 to 5.87 since step 4032 and stays there.

Fix
    Stop, go back to the last checkpoint before the first bad step, and continue with a lower learning rate, tighter
    clipping or a longer warm-up; look at the data of that stretch if the learning rate was as promised.

Source
    Zhang et al., OPT logbook, 2022, and Chowdhery et al., PaLM, 2022, on loss divergences of large runs.
"""

from __future__ import annotations

from lrwatch.checks._climb import LossClimb


class Divergence(LossClimb):
    slug = "divergence"
    code = "LR303"
    title = "loss climbed and stays above what was reached"
    late = False
    fix = "go back to the last checkpoint before that step; lower the learning rate, clip, or warm up longer"


CHECK = Divergence
