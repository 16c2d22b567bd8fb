"""Refuse a broken or hostile model before anything loads it: every defect of every file in one run.

`subject/` gathers what is looked at, opening nothing outside the target; `readers/` take bytes and text apart;
`rules/` judge, each a function in the registry (`registry.py`) with a stable code; `runner.py` runs them and caps
findings of one kind.

`inspector.audit` is this package and the function of the public API at once (docs/decisions/0007-public-names.md).
