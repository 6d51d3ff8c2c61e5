"""The small demo study, shared by the tests that run DVC."""

import pytest

from tests.stages.checkout import Checkout, copy_working_tree, shrink


@pytest.fixture(scope="session")
def demo_checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The small demo study, reproduced once."""
    checkout = copy_working_tree(tmp_path_factory.mktemp("checkout"))
    checkout.edit(shrink)
    checkout.repro()
    return checkout
