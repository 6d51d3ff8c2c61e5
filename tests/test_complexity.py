"""The complexity of the networks, to the integers of the published counts, and that docs/complexity.md says it."""

from pathlib import Path

import pytest

from tests.complexity import NETWORKS, PAGE, Network, count, page

EXPECTED = {
    "MCT, paper": (2_873_476, 2_278_660, None),
    "MCT, paper, older features": (3_004_548, 2_409_732, 0.424),
    "MCT-HFR in training, paper": (5_630_724, 4_441_476, None),
    "MCT, code": (3_132_487, 2_537_671, None),
    "MCT-HFR in training, code": (5_779_143, 4_589_895, 1.1394),
    "MCT-HFR in training, code, older features": (5_910_215, 4_720_967, 1.1836),
    "MulT A-": (10_913_796, 8_540_676, 1.1980),
    "MulT, aggregator of table 4, older features": (9_337_852, 7_161_448, 1.474),
    "MISA A-, in training": (10_759_428, 10_690_820, 0.4753),
    "PMR A-": (6_993_991, 4_222_279, None),
    "CHFN A-": (1_197_509, 999_237, 0.0719),
    "TFR-Net A- in training": (14_433_919, 11_662_315, 2.5279),
    "TFR-Net A- in training, kernels 3, 3, 1, older features": (15_024_255, 12_252_651, 2.671),
    "EMT-DLFR A- in training": (7_722_823, 5_344_711, 0.9244),
}
"""True parameters, visible parameters and visible multiply-accumulates (G) where they are known."""


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_counts_are_those_expected_and_those_of_the_page(network: Network) -> None:
    found = count(network)
    if network.name in EXPECTED:
        parameters, visible, macs = EXPECTED[network.name]
        assert (found.parameters, found.visible_parameters) == (parameters, visible)
        if macs is not None:
            digits = len(str(macs).partition(".")[2])
            assert round(found.visible_macs / 1e9, digits) == macs
    (line,) = [line for line in page({n.name: found for n in NETWORKS}).splitlines() if f"| {network.name} |" in line]
    assert line in (Path(__file__).parents[1] / PAGE).read_text().splitlines(), "run `python -m tests.complexity`"


def test_the_page_has_every_network_and_nothing_else() -> None:
    text = (Path(__file__).parents[1] / PAGE).read_text()
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert names == [network.name for network in NETWORKS]
