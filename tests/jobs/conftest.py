"""Jobs start Ray themselves: modules that don't ask for the shared one begin without any."""

import io

import pytest
import ray
from PIL import Image, ImageDraw


@pytest.fixture(scope="module", autouse=True)
def ray_of_its_own(request: pytest.FixtureRequest) -> None:
    """Ends the Ray of modules before, where this one doesn't want it."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if not any(item.module is request.module and "local_ray" in item.fixturenames for item in items):
        ray.shutdown()


@pytest.fixture(scope="session")
def pictures() -> dict[str, bytes]:
    """Sixty PNG files of as many widths, by name."""
    pictures = {}
    for number in range(60):
        image = Image.new("L", (30 + 5 * number, 24), 230)
        ImageDraw.Draw(image).text((4, 6), f"word {number}", 20)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        pictures[f"{number:02d}.png"] = buffer.getvalue()
    return pictures
