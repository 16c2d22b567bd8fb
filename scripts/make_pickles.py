"""Write fixtures/pickles: honest pickles by their own libraries, and every import of all estimators of scikit-learn.

    python -m venv skl && skl/bin/pip install scikit-learn joblib pandas && skl/bin/python scripts/make_pickles.py

Run once (scikit-learn 1.9.1, scipy 1.17.1, NumPy 2.4.6, pandas 3.1.1, joblib 1.6.0); tests need none of these.
"""

from __future__ import annotations

import io
import os
import pickle
import warnings
from typing import Any

HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "pickles")
KEPT = ("KNeighborsClassifier", "SelectKBest", "RadiusNeighborsClassifier", "LogisticRegression", "GridSearchCV")


class Noted(pickle.Unpickler):
    """An unpickler that notes what it imports."""

    def __init__(self, raw: bytes, imports: set[str]) -> None:
        super().__init__(io.BytesIO(raw))
        self.imports = imports

    def find_class(self, module: str, name: str) -> Any:
        self.imports.add(f"{module} {name}")
        return super().find_class(module, name)


def fitted(kind: Any, x: Any, y: Any) -> Any:
    """An estimator of this class that has seen data; None where it wants other data."""
    from sklearn.linear_model import LogisticRegression

    for arguments in ((), (LogisticRegression(),), (LogisticRegression(), {"C": [1, 2]})):
        for data in ((x, y), (abs(x), y), (abs(x),), (y,), (["a b", "c d"] * 5,)):
            try:
                return kind(*arguments).fit(*data)
            except (TypeError, ValueError, AttributeError, IndexError):
                continue
    return None


def main() -> None:
    import joblib
    import numpy as np
    import pandas as pd
    import scipy.sparse
    from sklearn.datasets import make_classification
    from sklearn.utils import all_estimators

    warnings.filterwarnings("ignore")
    x, y = make_classification(60, 8, random_state=0)
    values: dict[str, Any] = {name: fitted(kind, x, y) for name, kind in all_estimators()}
    values |= {
        "sp_csr_matrix": scipy.sparse.csr_matrix(np.eye(5)),
        "np_gen": np.random.default_rng(1),
        "np_df": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        "np_obj": np.array([{"a": 1}], dtype=object),
        "memo": {"a": x, "b": {"c": y}, "again": x},
    }
    imports: set[str] = set()
    for name, value in values.items():
        for protocol in (2, 5):
            Noted(pickle.dumps(value, protocol=protocol), imports).load()
        if name in KEPT or not name[0].isupper():
            joblib.dump(value, os.path.join(HERE, f"{name}.joblib"))
            joblib.dump(value, os.path.join(HERE, f"{name}_c.joblib"), compress=3)
            with open(os.path.join(HERE, f"{name}.pkl"), "wb") as file:
                pickle.dump(value, file)
    with open(os.path.join(HERE, "imports.txt"), "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in sorted(imports))


if __name__ == "__main__":
    main()
