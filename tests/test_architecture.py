"""The arrows between modules and the libraries each may import, held as data."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module may import modules of lower layers, and of its own layer only inside its own package.
LAYERS = (
    {"meshes"},
    {"forecast.conventions", "forecast"},
    {
        "forecast.clock",
        "forecast.settings",
        "forecast.source_code",
        "forecast.whole_file",
        "forecast.pages",
    },
    {"forecast.architecture"},
    {"forecast.config"},
    {"forecast.data"},
    {"forecast.model", "forecast.verification"},
    {
        "forecast.distributed",
        "forecast.checkpoint",
        "forecast.curriculum",
        "forecast.journal",
        "forecast.optimisation",
        "forecast.benchmark_config",
        "forecast.drawing",
    },
    {"forecast.checkpoint_writer", "forecast.state_model"},
    {"forecast.updates"},
    {"forecast.preflight"},
    {
        "forecast.ingest",
        "forecast.train",
        "forecast.predict",
        "forecast.verify",
        "forecast.maps",
        "forecast.report",
        "forecast.smoothness",
        "forecast.toy_study",
        "forecast.equation_training",
        "forecast.benchmark_page",
    },
    {"forecast.equation_trial"},
    {"jobs"},
)
INDEPENDENT = ("forecast.data", "forecast.model", "forecast.verification")

LIBRARIES = {
    "torch": {
        "forecast.model",
        "forecast.data.windows",
        "forecast.checkpoint",
        "forecast.checkpoint_writer",
        "forecast.distributed",
        "forecast.predict",
        "forecast.preflight",
        "forecast.state_model",
        "forecast.updates",
        "forecast.toy_study",
        "forecast.optimisation",
        "forecast.equation_training",
        "jobs.speed",  # times the operators
        "jobs.timing",
        "jobs.verify_partition",  # compares losses and gradients
    },
    "torch_geometric": {"forecast.model", "jobs.timing"},
    "xarray": {
        "forecast.data",
        "forecast.verification",
        "forecast.verify",
        "forecast.maps",
        "forecast.drawing",
        "forecast.report",
    },
    "zarr": {"forecast.data.storage"},
    "fsspec": {"forecast.data.storage"},
    "numcodecs": {"forecast.data.storage"},
    "tensorboardX": {"forecast.journal"},
    "gcsfs": {"forecast.data.storage"},
    "ray": {"forecast.distributed"},
    "torch.distributed": {"forecast.distributed"},
    "matplotlib": {"forecast.drawing"},
    "cartopy": {"forecast.drawing"},
}
GEOMETRY_LIBRARIES = {"numpy", "scipy", "jaxtyping"}


def modules() -> dict[str, Path]:
    found = {}
    for package in ("meshes", "forecast", "jobs"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, with what it takes from packages."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def lies_in(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def layer(module: str) -> int:
    for number, places in enumerate(LAYERS):
        for place in places:
            if module == place or (place != "forecast" and lies_in(module, place)):
                return number
    raise AssertionError(f"{module} lies in no layer: give it one")


def room(module: str) -> str:
    """`meshes`, `jobs`, or the package or module of `forecast` that a module lies in."""
    top, *rest = module.split(".")
    return f"{top}.{rest[0]}" if top == "forecast" and rest else top


def ours(names: set[str]) -> set[str]:
    """The modules of ours among `names`; a package stands for nothing but its parts."""
    found = modules()
    return {name for name in names if name in found and found[name].name != "__init__.py"}


@pytest.mark.parametrize("module", modules())
def test_arrows_point_down(module):
    for imported in ours(imports(modules()[module])) - {module}:
        assert layer(imported) < layer(module) or room(imported) == room(module), (
            f"{module} imports {imported}"
        )


def test_no_module_needs_itself():
    needs = {module: ours(imports(path)) - {module} for module, path in modules().items()}
    while free := [module for module in needs if not needs[module] & set(needs)]:
        for module in free:
            del needs[module]
    assert not needs, f"imports run in a circle among {sorted(needs)}"


@pytest.mark.parametrize("module", modules())
def test_model_and_verification_know_nothing_of_each_other_or_of_data(module):
    here = [place for place in INDEPENDENT if lies_in(module, place)]
    for imported in ours(imports(modules()[module])):
        for place in INDEPENDENT:
            assert not here or place in here or not lies_in(imported, place), (
                f"{module} imports {imported}"
            )


@pytest.mark.parametrize("module", modules())
def test_libraries_stay_in_their_rooms(module):
    for imported in imports(modules()[module]):
        for library, rooms in LIBRARIES.items():
            if lies_in(imported, library):
                assert any(lies_in(module, room) for room in rooms), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [m for m in modules() if lies_in(m, "meshes")])
def test_geometry_stands_on_numpy_and_scipy_alone(module):
    import sys

    for imported in imports(modules()[module]):
        top = imported.partition(".")[0]
        assert top in GEOMETRY_LIBRARIES | {"meshes"} | set(sys.stdlib_module_names), imported
