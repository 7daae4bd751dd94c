"""What the ExtensionsIndex reads: the catalog entry, the metadata of CMakeLists.txt, licence, icons; the rules that can be checked here."""

import json
import re
import struct
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cmake_build import MODULES, ROOT

# Keys and types of slicer-extension-catalog-entry-schema-v1.0.2.json, which allows no others.
SCHEMA = {
    "$schema": str, "category": str, "scm_url": str, "scm_revision": str, "scm_type": str, "build_dependencies": list,
    "dicom_support_rule": str, "build_subdirectory": str, "enabled": bool, "tier": int,
}  # fmt: skip
LIMIT_BYTES = 100e6  # of a checkout


@pytest.fixture(scope="module")
def entry() -> dict[str, object]:
    data = (ROOT / "SyntheX.json").read_bytes()
    assert b"\r" not in data
    return json.loads(data)


@pytest.fixture(scope="module")
def metadata() -> dict[str, str]:
    """The index reads the URLs with a regular expression, so each value stands on one line."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"]+)"\)$', text, re.MULTILINE))


def test_the_catalog_entry_follows_the_schema(entry: dict[str, object]) -> None:
    assert {"$schema", "category", "scm_url"} <= entry.keys() <= SCHEMA.keys()
    assert {key: type(value) for key, value in entry.items()} == {key: SCHEMA[key] for key in entry}
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert 1 <= entry["tier"] <= 5


def test_the_catalog_entry_says_what_cmake_says(entry: dict[str, object], metadata: dict[str, str]) -> None:
    assert {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"} <= set(metadata)
    project = re.search(r"^project\((\w+)\)$", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert project and project.group(1) == "SyntheX"  # the base name of the entry's file
    assert entry["category"] == metadata["CATEGORY"] == "Image Synthesis"
    assert entry["build_dependencies"] == metadata["DEPENDS"].split() == ["PyTorch"]


def test_every_address_is_one_of_the_one_repository_and_its_picture_is_here(entry: dict[str, object], metadata: dict[str, str]) -> None:
    owner, name = re.fullmatch(r"https://github\.com/([\w-]+)/([\w-]+)", metadata["HOMEPAGE"]).groups()
    assert name.startswith("Slicer")
    assert entry["scm_url"] == f"{metadata['HOMEPAGE']}.git"
    raw = f"https://raw.githubusercontent.com/{owner}/{name}/{entry['scm_revision']}/"
    urls = [metadata["ICONURL"], *metadata["SCREENSHOTURLS"].split()]
    assert len(urls) >= 2
    for url in urls:
        assert (ROOT / url.removeprefix(raw)).read_bytes().startswith(b"\x89PNG"), url


def test_the_extensions_icon_has_128_pixels_and_every_module_has_one_of_its_own() -> None:
    assert struct.unpack(">II", (ROOT / "SyntheX.png").read_bytes()[16:24]) == (128, 128)
    icons = [ROOT / module / f"Resources/Icons/{module}.svg" for module in MODULES]
    assert len({icon.read_bytes() for icon in icons}) == len(MODULES)
    for icon in icons:
        root = ET.parse(icon).getroot()
        assert (root.get("viewBox"), root.get("width"), root.get("height")) == ("0 0 128 128", "128", "128")


def test_the_licence_is_in_the_root_and_named_in_the_readme_and_the_description(metadata: dict[str, str]) -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache-2.0" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in metadata["DESCRIPTION"]


def test_a_checkout_stays_under_the_limit_of_the_index() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < LIMIT_BYTES / 2  # git keeps each file once more


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "Docs").glob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_and_pictures_of_a_document_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_tutorial_with_a_picture_that_the_readers_page_links(module: str) -> None:
    name = f"tutorial_{module.removeprefix('SyntheX').lower() or 'home'}.md"
    text = (ROOT / "Docs" / name).read_text(encoding="utf-8")
    assert re.search(r"!\[[^\]]+\]\(Screenshots/", text)
    assert f"({name})" in (ROOT / "Docs/extension_index.md").read_text(encoding="utf-8")
