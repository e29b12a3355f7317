"""What a tree holds → a Dockerfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.recipes.dockerfile import (
    CONSTRAINTS,
    DOCKERFILE,
    REQUIREMENTS,
    Kit,
    base_image,
    bases,
    generate,
)
from launchcore.recipes.needs import Needs, choose_python, look
from launchcore.recipes.settings import Accelerator, RecipeSettings

LIBRARY = """\
[build-system]
requires = ["hatchling"]
[project]
name = "lib"
dependencies = ["attrs>=24"]
[project.optional-dependencies]
fast = ["msgspec"]
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def text_of(needs: Needs, **settings: Any) -> str:
    return generate(needs, RecipeSettings(**settings))[DOCKERFILE].decode()


def refused(root: Path, **how: Any) -> str:
    with pytest.raises(LaunchError) as caught:
        look(root, **how)
    assert (caught.value.reason, caught.value.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert caught.value.hint
    assert "\n" not in caught.value.detail
    return caught.value.detail


# -- requirements ----------------------------------------------------------------------------------


def test_requirements_with_all_that_they_include(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "requirements.txt": "numpy  # why\n-r more/torch.txt\n--requirement=more/extra.txt\n"
            "-c limits.txt\n",
            "more/torch.txt": "torch \\\n  ==2.5\n--extra-index-url https://wheels.example.com/cu124\n"
            "-f ../wheels\n",
            "more/extra.txt": "./../wheels/own-1-py3-none-any.whl ; python_version > '3'\n-e ../lib[fast]\n",
            "limits.txt": "numpy<3\n",
            "wheels/own-1-py3-none-any.whl": "",
            "lib/pyproject.toml": LIBRARY,
        },
    )
    needs = look(tmp_path)

    assert needs.lines == (
        "numpy",
        "torch    ==2.5",
        "--extra-index-url https://wheels.example.com/cu124",
        "--find-links /launch/code/wheels",
        "/launch/code/wheels/own-1-py3-none-any.whl ; python_version > '3'",
        "attrs>=24",
        "msgspec",
    )
    assert needs.constraints == ("numpy<3",)
    assert needs.files == ("wheels", "wheels/own-1-py3-none-any.whl")
    (package,) = needs.packages
    assert (package.folder, package.editable, package.complete) == ("lib", True, True)

    files = generate(needs, RecipeSettings())
    text = files[DOCKERFILE].decode()
    assert files[REQUIREMENTS].decode().splitlines() == list(needs.lines)
    assert files[CONSTRAINTS] == b"numpy<3\n"
    dependencies = text.index(f"pip install --no-cache-dir -r {REQUIREMENTS} -c {CONSTRAINTS}")
    code = text.index("COPY --chown=1000:1000 . .")
    assert text.index('COPY ["wheels", "wheels"]') < dependencies < code
    assert code < text.index("pip install --no-cache-dir --no-deps -e ./lib")


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"requirements.txt": "-r missing.txt"}, "does not have"),
        ({"requirements.txt": "-r ../../etc/passwd"}, "outside"),
        ({"requirements.txt": "-r requirements.txt"}, "without end"),
        ({"requirements.txt": "-e /etc"}, "outside"),
        ({"requirements.txt": "x @ file:///etc/passwd"}, "outside"),
        ({"requirements.txt": "-f ../"}, "outside"),
        ({"requirements.txt": "-f x"}, "does not have"),
        ({"pyproject.toml": "["}, "cannot be read"),
        ({"pyproject.toml": "[project]\nname='x'\nrequires-python='nonsense'"}, "no range"),
        ({"pyproject.toml": "[project]\nname='x'\nrequires-python='<3'"}, "no version"),
        ({"pyproject.toml": "x = 1", "uv.lock": "["}, "cannot be read"),
        (
            {"pyproject.toml": "a=1", "uv.lock": "[[package]]\nname='$(x)'\nsource={editable='.'}"},
            "name",
        ),
        ({"environment.yml": "dependencies:\n - pip:\n   - -r /etc/passwd"}, "outside"),
    ],
)
def test_what_leads_out_of_the_source_or_cannot_be_read(
    tmp_path: Path, files: dict[str, str], word: str
) -> None:
    assert word in refused(write(tmp_path, files))


def test_a_link_does_not_lead_out_either(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").symlink_to("/etc/passwd")
    assert "outside" in refused(tmp_path)


@pytest.mark.parametrize("name", ["a;rm -rf", "a$(id)", 'a"b', "a\nRUN id", "a b"])
def test_no_name_of_a_file_becomes_an_instruction(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"{name}/pyproject.toml": LIBRARY, "requirements.txt": "x"})
    assert "characters" in refused(tmp_path, named=(f"{name}/pyproject.toml",))


def test_lines_of_requirements_are_in_a_file_and_not_in_the_dockerfile(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "x; rm -rf /\nRUN id\n"})
    assert "rm -rf" not in text_of(look(tmp_path)).replace("rm -rf /var/lib/apt", "")
    assert "RUN id" not in text_of(look(tmp_path))


def test_git_is_installed_where_a_requirement_wants_it(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "x @ git+https://git.example.com/x@main\n"})
    assert "command -v git" in text_of(look(tmp_path))


# -- projects --------------------------------------------------------------------------------------


def test_a_project_with_a_build_backend_and_extras(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": LIBRARY})
    needs = look(tmp_path, extras=("fast",))

    assert needs.lines == ("attrs>=24", "msgspec")
    assert "pip install --no-cache-dir --no-deps -e .\n" in text_of(needs)
    assert "no extra 'slow'" in refused(tmp_path, extras=("slow",))


def test_a_project_that_only_names_its_dependencies_is_not_installed(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=['attrs']\n"})
    needs = look(tmp_path)
    assert (needs.lines, needs.packages) == (("attrs",), ())


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "from setuptools import setup; setup()"},
        {"pyproject.toml": LIBRARY.replace("dependencies", "dynamic = ['dependencies']\n#", 1)},
        {"pyproject.toml": "[build-system]\nrequires=['poetry-core']\n[tool.poetry]\nname='x'\n"},
        {"pyproject.toml": LIBRARY.replace("attrs>=24", "lib[fast]")},
    ],
)
def test_dependencies_that_only_the_backend_knows_are_its_business(
    tmp_path: Path, files: dict[str, str]
) -> None:
    text = text_of(look(write(tmp_path, files), extras=("fast",)))
    assert "--no-deps" not in text
    assert "-e '.[fast]'" in text


def test_requirements_and_project_together(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": LIBRARY, "requirements.txt": "rich\nattrs>=24\n"})
    assert look(tmp_path).lines == ("rich", "attrs>=24")


def test_frozen_requirements_are_all_there_is(tmp_path: Path) -> None:
    write(
        tmp_path, {"requirements.frozen.txt": "a==1\n", "requirements.txt": "a\n", "pyproject.toml": LIBRARY}
    )
    assert look(tmp_path).lines == ("a==1",)


def test_a_lock_of_uv(tmp_path: Path) -> None:
    lock = "[[package]]\nname='lib'\nsource={editable='.'}\n[[package]]\nname='a'\nsource={registry='x'}\n"
    write(tmp_path, {"pyproject.toml": LIBRARY, "uv.lock": lock})
    text = text_of(look(tmp_path, extras=("fast",)))

    first = text.index(
        "uv sync --frozen --no-dev --no-install-workspace --no-install-package lib --extra fast"
    )
    assert text.index('COPY ["uv.lock", "uv.lock"]') < first < text.index("COPY --chown")
    assert text.index("COPY --chown") < text.index("RUN uv sync --frozen --no-dev --extra fast")


def test_a_virtual_project_of_uv_is_synchronised_once(tmp_path: Path) -> None:
    lock = "[[package]]\nname='lib'\nsource={virtual='.'}\n"
    write(tmp_path, {"pyproject.toml": LIBRARY, "uv.lock": lock})
    assert text_of(look(tmp_path)).count("uv sync") == 1


def test_an_environment_of_conda(tmp_path: Path) -> None:
    environment = "dependencies:\n  - python=3.11\n  - pip:\n    - -r requirements.txt\n"
    write(tmp_path, {"environment.yml": environment, "requirements.txt": "-r b.txt", "b.txt": "x"})
    needs = look(tmp_path)
    text = text_of(needs)

    assert needs.files == ("environment.yml", "requirements.txt", "b.txt")
    assert "FROM condaforge/miniforge3:" in text
    assert "conda env create --yes --prefix /launch/env --file environment.yml" in text


def test_nothing_to_install(tmp_path: Path) -> None:
    text = text_of(look(write(tmp_path, {"train.py": ""})))
    assert "pip install" not in text
    assert "USER 1000:1000" in text


def test_the_settings_name_the_files(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "a", "gpu.txt": "b", "sub/pyproject.toml": LIBRARY})
    assert look(tmp_path, named=("gpu.txt",)).lines == ("b",)
    assert look(tmp_path, named=("sub/pyproject.toml",)).packages[0].folder == "sub"
    assert "does not have" in refused(tmp_path, named=("none.txt",))


# -- Python and base images ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({}, "3.12"),
        ({".python-version": "3.11\n"}, "3.11"),
        ({".python-version": "# mine\ncpython-3.10.4\n"}, "3.10.4"),
        ({".python-version": "pypy3.9"}, "3.12"),
        ({"runtime.txt": "python-3.9.18"}, "3.9.18"),
        ({"pyproject.toml": "[project]\nrequires-python='>=3.9,<3.12'"}, "3.11"),
        ({".python-version": "3.10", "pyproject.toml": "[project]\nrequires-python='>=3.13'"}, "3.10"),
    ],
)
def test_the_version_of_python(tmp_path: Path, files: dict[str, str], version: str) -> None:
    write(tmp_path, files)
    assert look(tmp_path).python == version
    assert f"FROM python:{version}-slim" in text_of(look(tmp_path))
    assert look(tmp_path, python="3.8").python == "3.8"


@pytest.mark.parametrize(
    ("required", "version"),
    [(">=3.8", "3.12"), (">=3.13", "3.14"), ("==3.10.*", "3.10"), ("==3.9.7", "3.9.7"), ("~=3.11.2", "3.11")],
)
def test_a_version_that_is_allowed(required: str, version: str) -> None:
    assert choose_python(required) == version


def test_base_images() -> None:
    gpu = Accelerator(base_image="nvidia/cuda:12-ubuntu")
    assert base_image(Needs(), RecipeSettings(base_image="mine:{python}")) == "mine:3.12"
    assert base_image(Needs(), RecipeSettings(accelerator=gpu)) == "nvidia/cuda:12-ubuntu"

    text = text_of(Needs(), accelerator=gpu)
    assert "uv venv --seed --managed-python --python 3.12" in text
    included = Accelerator(base_image="pytorch/pytorch:{python}", python="included")
    assert "uv venv" not in text_of(Needs(), accelerator=included)
    assert "FROM pytorch/pytorch:3.12" in text_of(Needs(), accelerator=included)


def test_system_packages_come_first_and_arguments_are_declared() -> None:
    settings = RecipeSettings(system_packages=("git", "build-essential"))
    text = generate(Needs(lines=("x",)), settings, arguments=["B", "A"])[DOCKERFILE].decode()
    assert text.index("ARG A\nARG B") < text.index("install -y --no-install-recommends git build-essential")
    assert text.index("build-essential") < text.index("pip install")


def test_root_when_asked() -> None:
    text = text_of(Needs(), user=0)
    assert "USER 0:0" in text
    assert "/etc/passwd" not in text


def test_buildkit_changes_how_and_not_what() -> None:
    needs = Needs(lines=("x",))
    with_kit = generate(needs, RecipeSettings(), kit=Kit(secrets=("TOKEN",)))
    text = with_kit[DOCKERFILE].decode()

    assert "--mount=type=cache,target=/root/.cache/pip" in text
    assert '--mount=type=secret,id=TOKEN export TOKEN="$(cat /run/secrets/TOKEN)" && python' in text
    assert with_kit[REQUIREMENTS] == generate(needs, RecipeSettings())[REQUIREMENTS]


def test_the_images_that_a_dockerfile_begins_with() -> None:
    text = """
    # FROM no
    from --platform=$X golang:1.23 \\
       AS build
    FROM build AS test
    FROM ${BASE}
    FROM scratch
    COPY --from=0 /x /y
    COPY --chown=1 --from=busybox:1 /x /y
    COPY --from=build /x /y
    """
    assert bases(text) == ["golang:1.23", "busybox:1"]


@pytest.mark.parametrize(
    "raw",
    [
        {"base_image": "python\nRUN id"},
        {"base_image": "a b"},
        {"conda_image": "$(id)"},
        {"accelerator": {"base_image": "x #"}},
        {"python": "3.12; id"},
        {"system_packages": ["git && id"]},
        {"extras": ["a]; id"]},
        {"dockerfile": "../Dockerfile"},
        {"context": "/etc"},
        {"requirements": ["a/../../b"]},
        {"platform": "linux"},
        {"user": -1},
        {"buildkit": "other"},
        {"push_retries": -1},
        {"silent_seconds": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        structure(RecipeSettings, raw, path="builder")
