"""How bad each rule's finding is, written out by hand from what loaders do: not read from the registry under test."""

from __future__ import annotations

from itertools import pairwise
from pkgutil import iter_modules

from audit_builder import audit, write

import inspector.audit.rules
from inspector.audit.registry import rules

# No loader takes the file, or takes it and runs code or reads outside the folder.
ERRORS = """
    FL001 FL002 FL003 FL004 FL005 FL006 FL007 FL008 FL009 FL010 FL011 FL012 FL013
    GG001 GG003 GG004 GG006 GG007 GG008 GG010 GG011 GG013 GG014 GG015 GG016 GG017 GG018 GG019
    GM011 GM012 GM013 GM014
    GL001 GL002 GL003 GL004 GL005 GL006 GL007 GL008
    ST001 ST002 ST003 ST004 ST005 ST006 ST007 ST008 ST009 ST010
    FD001 FD002 FD003 FD004 FD008 FD009 FD010 FD021
    CD002 CD004 CD006 CD007 CD008 CD009 CD010 CD011 CD012 CD014 CD015
    VA005
    """
# It loads in some programs, or loads and is not what it says.
WARNINGS = """
    FL014 FL016
    GG002 GG005 GG009 GG012 GG020 GG022 GG023
    GM001 GM002 GM003 GM004 GM005 GM006 GM007 GM008 GM009 GM010
    ST011 ST012
    TX001 TX002 TX003 TX004 TX005 TX006
    FD005 FD006 FD011 FD012 FD013 FD014 FD015 FD016 FD018 FD020
    CD001 CD005
    HS001 HS002
    VA001 VA002 VA003 VA004
    """
# It loads everywhere; good to know.
INFOS = "FL015 CD003 CD013 CD016 GG021 GG024 GM015 ST013 FD007 FD017 FD019 HS003"

EXPECTED = {
    code: severity
    for severity, codes in (("error", ERRORS), ("warning", WARNINGS), ("info", INFOS))
    for code in codes.split()
}


def test_every_rule_is_as_bad_as_the_table_says():
    assert {code: rule.severity for code, rule in rules().items()} == EXPECTED


def test_every_module_of_the_room_holds_rules():
    found = {rule.check.__module__ for rule in rules().values()}
    room = inspector.audit.rules
    assert found == {f"{room.__name__}.{module.name}" for module in iter_modules(room.__path__)}


def test_the_worst_comes_first(tmp_path):
    """A warning of an earlier code (CD001) stands behind the errors of later ones (FL001)."""
    remote = {"model_type": "llama", "auto_map": {"AutoModel": "modeling_x.X"}}
    write(tmp_path, {"a.gguf": b"", "config.json": remote, "modeling_x.py": "class X: pass\n"})
    findings = audit(tmp_path).findings
    assert {("CD001", "warning"), ("FL001", "error")} <= {(f.code, f.severity) for f in findings}
    order = [("error", "warning", "info").index(f.severity) for f in findings]
    assert all(a <= b for a, b in pairwise(order))
