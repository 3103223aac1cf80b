"""Jobs start Ray themselves: modules that don't ask for the shared one begin without any."""

import pytest
import ray


@pytest.fixture(scope="module", autouse=True)
def ray_of_its_own(request: pytest.FixtureRequest) -> None:
    """Ends the Ray of modules before, where this one doesn't want it."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if not any(item.module is request.module and "local_ray" in item.fixturenames for item in items):
        ray.shutdown()
