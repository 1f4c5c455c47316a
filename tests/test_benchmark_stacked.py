"""scripts/benchmark_stacked.py, in miniature."""

import benchmark_stacked
import torch


def test_a_stack_is_timed_beside_the_runs_alone():
    threads = torch.get_num_threads()
    found = benchmark_stacked.measured(features=3, width=8, members=2, device="cpu", seconds=0.1)
    assert {"stacked", "eager"} <= set(found) <= {"stacked", "eager", "native", "compiled"}
    assert all(milliseconds > 0 for milliseconds in found.values())
    assert torch.get_num_threads() == threads
