"""A scan as a bill of materials: CycloneDX 1.6 with a machine-learning model for each row.

cyclonedx-python-lib writes the document and its schema judges it. It has no model cards (release 11.12 names them as a
thing to come), so those are put into its JSON afterwards.
"""

from __future__ import annotations

import json
import uuid

from inspector.errors import InspectorError
from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from inspector.fleet.options import Row

_EXTRA: Final = "pip install 'weights-inspector[sbom]'"
# column of the scan: property of the component, under our own name
_PROPERTIES: Final = (
    "format", "nbytes", "n_params", "quant_claimed", "quant_actual", "n_ctx_train", "shape_key", "verdict", "error",
)  # fmt: skip


def check_library() -> None:
    """Raises InspectorError where the library is not installed."""
    try:
        import cyclonedx.model.bom  # noqa: F401
    except ImportError:
        raise InspectorError("--cyclonedx needs cyclonedx-python-lib", hint=_EXTRA) from None


def sbom(rows: Iterable[Row]) -> str:
    """The document as JSON. Its number follows from what is in it: the same models are the same document."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom()
    bom.metadata.tools.components.add(
        Component(name="inspector", version=__version__, type=ComponentType.APPLICATION, bom_ref="inspector")
    )
    cards = {}
    for n, row in enumerate(rows):
        ref = f"model-{n}"
        bom.components.add(_component(row, ref))
        cards[ref] = _model_card(row)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(cards, sort_keys=True))
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    for component in document.get("components", ()):
        component["modelCard"] = cards[component["bom-ref"]]
    return json.dumps(document, indent=2) + "\n"


def _component(row: Row, ref: str) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    digest = row["sha256"] if len(row["sha256"] or "") == 64 else None
    return Component(
        bom_ref=ref,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=row["title"] or row["name"] or row["target"],
        version=row["revision"],
        purl=_purl(row),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else (),
        licenses=_licenses(row),
        properties=[
            Property(name="inspector:target", value=row["target"]),
            *(
                Property(name=f"inspector:{name}", value=str(row[name]))
                for name in _PROPERTIES
                if row[name] is not None
            ),
            *(Property(name="inspector:finding", value=code) for code in row["codes"] or ()),
        ],
    )


def _purl(row: Row) -> Any:
    """The package URL of a repository on the Hub (purl-spec, type huggingface: the commit is the version)."""
    from packageurl import PackageURL

    if not row["repo"]:
        return None
    owner, _, name = row["repo"].rpartition("/")
    return PackageURL(type="huggingface", namespace=owner or None, name=name, version=row["revision"])


def _licenses(row: Row) -> tuple[Any, ...]:
    """What the file states: an SPDX identifier where it is one, else the words."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    if not row["license"]:
        return ()
    return (LicenseFactory().make_with_name(row["license"]) if " " in row["license"] else _by_id(row["license"]),)


def _by_id(words: str) -> Any:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.exception.factory import InvalidSpdxLicenseException

    try:
        return LicenseFactory().make_with_id(words)
    except InvalidSpdxLicenseException:
        return LicenseFactory().make_with_name(words)


def _model_card(row: Row) -> dict[str, Any]:
    """What the schema has places for."""
    parameters: dict[str, Any] = {"task": "text-generation"} if row["caches"] else {}
    if row["arch"]:
        parameters |= {"architectureFamily": row["arch"], "modelArchitecture": row["arch"]}
    return {"modelParameters": parameters}
