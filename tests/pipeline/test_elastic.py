"""Training with fewer workers than it has room for, on real Ray."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import ray

from pipeline.train_plan import plan_run
from tests.training_runs import curve, tiny_run, train, write_words

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


def test_a_step_keeps_its_images_while_workers_are_missing(no_ray: None, tmp_path: Path) -> None:
    config = tiny_run(write_words(tmp_path), tmp_path)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        done = train(replace(config, workers=3, min_workers=1))
    finally:
        ray.shutdown()
    plan = plan_run(config)
    packs = [pack["count"][0].as_py() for w in plan.windows(done.audits) for pack in plan.packer.packs(w)]
    each_step = [sum(packs[first : first + 3]) for first in range(0, len(packs), 3)]
    assert [value for _, value in curve(config, "train/images_seen")] == list(accumulate(each_step))
    assert done.images_seen == 472
