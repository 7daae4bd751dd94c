"""Rebuild the physics tables: ``python -m SyntheXLib.physics.tables.build``. Needs xraylib and spekpy; nothing else does.

attenuation.csv
    Total mass attenuation coefficient (cm2/g) on a grid of 1 keV, from xraylib (evaluated data of Schoonjans et al., Spectrochim. Acta B
    66, 2011; agrees with NIST XCOM within 0.1 % at 20-100 keV), for elements and for mixtures by mass fraction. Tissues: ICRU Report 44.
spectra.npz
    Unfiltered tungsten spectra (photons per mm2, keV and mAs at 1 m, 12 degree anode) for every kVp, from SpekPy (Poludniowski et al.,
    Med. Phys. 48, 2021; its default model), on the same grid. Inherent filtration is none: add aluminium.
anode.npz
    The same for other take-off angles: photons relative to those at 12 degrees, for some tube voltages. One table serves anodes of all
    angles and the heel effect, as photons that leave an anode of angle a at t degrees from the central ray towards the cathode are those of
    an anode of angle a + t on its central ray (SpekPy agrees with that to the last digit).
scatter.csv
    Not rebuilt here: `build_scatter`.
interactions.npz
    For the Monte Carlo, from xraylib, mixtures as independent atoms: photoelectric, Compton and Rayleigh cross sections (cm2/g) at 1 to
    150 keV in steps of 1 keV; and over the momentum transfer x = sin(angle / 2) / wavelength (1/angstrom) the incoherent scattering
    function S and the squared form factor F^2, both per gram (sums over the elements of mass fraction / molar mass).
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
ENERGIES_KEV = np.arange(10, 151)
TUBE_KVP = np.arange(40, 151)
ANODE_ANGLE_DEG = 12.0
TAKEOFF_DEG = np.array([0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 25, 30])
TAKEOFF_KVP = np.arange(40, 151, 10)

# Mass fractions. ICRU Report 44 (tissues), NIST (dry air), nominal alloys.
MATERIALS: dict[str, dict[str, float]] = {
    "air": {"C": 0.000124, "N": 0.755268, "O": 0.231781, "Ar": 0.012827},
    "water": {"H": 0.111898, "O": 0.888102},
    "lung": {"H": 0.103, "C": 0.105, "N": 0.031, "O": 0.749, "Na": 0.002, "P": 0.002, "S": 0.003, "Cl": 0.003, "K": 0.002},
    "adipose": {"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001},
    "soft_tissue": {"H": 0.102, "C": 0.143, "N": 0.034, "O": 0.708, "Na": 0.002, "P": 0.003, "S": 0.003, "Cl": 0.002, "K": 0.003},
    "cortical_bone": {"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Na": 0.001, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225},
    "aluminium": {"Al": 1.0},
    "copper": {"Cu": 1.0},
    "titanium": {"Ti": 1.0},
    "nitinol": {"Ni": 0.558, "Ti": 0.442},
    "steel_316l": {"Fe": 0.655, "Cr": 0.17, "Ni": 0.12, "Mo": 0.025, "Mn": 0.02, "Si": 0.01},
    "caesium_iodide": {"Cs": 0.511549, "I": 0.488451},
}

# The Monte Carlo's own: average soft tissue of the adult (ICRU Report 46), the box of AAPM TG-195 case 2.
TRANSPORT_MATERIALS = {name: fractions for name, fractions in MATERIALS.items() if name != "caesium_iodide"} | {
    "average_soft_tissue": {
        "H": 0.105, "C": 0.256, "N": 0.027, "O": 0.602, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.002, "K": 0.002,
    },
}  # fmt: skip
TRANSPORT_ENERGIES_KEV = np.arange(1, 151)
# Up to straight back at 150 keV. The square root is spaced evenly: fine where F^2 falls, and the place of an x costs one root.
MOMENTUM_TRANSFER = 12.2 * np.linspace(0, 1, 513) ** 2


def attenuation() -> np.ndarray:
    """(E, M) cm2/g for the energies and materials above."""
    import xraylib

    def coefficient(fractions: dict[str, float], energy: float) -> float:
        whole = sum(fractions.values())
        return sum(part / whole * xraylib.CS_Total(xraylib.SymbolToAtomicNumber(element), energy) for element, part in fractions.items())

    return np.array([[coefficient(fractions, float(energy)) for fractions in MATERIALS.values()] for energy in ENERGIES_KEV])


def spectra() -> np.ndarray:
    """(K, E) photons per mm2, keV and mAs at 1 m for the tube voltages and energies above."""
    return np.array([_unfiltered(float(kvp), ANODE_ANGLE_DEG) for kvp in TUBE_KVP])


def takeoff_ratio() -> np.ndarray:
    """(T, K, E) photons at a take-off angle relative to those at 12 degrees; above the tube voltage the last ratio goes on."""
    table = np.ones((len(TAKEOFF_DEG), len(TAKEOFF_KVP), len(ENERGIES_KEV)))
    for place, kvp in enumerate(TAKEOFF_KVP):
        reference = _unfiltered(float(kvp), ANODE_ANGLE_DEG)
        # Below, next to nothing leaves a steep anode; above is the end of the spectrum.
        used = np.flatnonzero(reference)[:-1]
        for row, angle in zip(table, TAKEOFF_DEG, strict=True):
            row[place] = np.interp(ENERGIES_KEV, ENERGIES_KEV[used], _unfiltered(float(kvp), float(angle))[used] / reference[used])
    return table


def _unfiltered(kvp: float, takeoff_deg: float) -> np.ndarray:
    import spekpy

    spectrum = spekpy.Spek(kvp=kvp, th=takeoff_deg, dk=1.0, shift=0.5, z=100.0)
    energies, fluence = spectrum.get_spectrum()  # per cm2 and keV
    return np.interp(ENERGIES_KEV, energies, fluence, left=0.0, right=0.0) / 100.0


def interactions() -> tuple[np.ndarray, np.ndarray]:
    """(M, 3, E) photoelectric, Compton and Rayleigh cross sections, cm2/g; (M, 2, X) S and F^2 per gram (mol/g)."""
    import xraylib

    sections = np.zeros((len(TRANSPORT_MATERIALS), 3, len(TRANSPORT_ENERGIES_KEV)))
    functions = np.zeros((len(TRANSPORT_MATERIALS), 2, len(MOMENTUM_TRANSFER)))
    for row, fractions in enumerate(TRANSPORT_MATERIALS.values()):
        whole = sum(fractions.values())
        for element, part in fractions.items():
            number = xraylib.SymbolToAtomicNumber(element)
            for kind, section in enumerate((xraylib.CS_Photo, xraylib.CS_Compt, xraylib.CS_Rayl)):
                sections[row, kind] += [part / whole * section(number, float(energy)) for energy in TRANSPORT_ENERGIES_KEV]
            moles = part / whole / xraylib.AtomicWeight(number)
            # xraylib's S ends near 0.001 for most elements; below it goes with the square.
            inside = np.maximum(MOMENTUM_TRANSFER, 0.002)
            incoherent = np.array([xraylib.SF_Compt(number, float(x)) for x in inside])
            functions[row, 0] += moles * incoherent * (MOMENTUM_TRANSFER / inside) ** 2
            functions[row, 1] += [moles * xraylib.FF_Rayl(number, float(x)) ** 2 for x in MOMENTUM_TRANSFER]
    return sections, functions


def main() -> None:
    """Write the tables."""
    header = ",".join(["energy_kev", *MATERIALS])
    rows = [
        f"{energy:g}," + ",".join(f"{value:.5g}" for value in values) for energy, values in zip(ENERGIES_KEV, attenuation(), strict=True)
    ]
    (FOLDER / "attenuation.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    np.savez_compressed(
        FOLDER / "spectra.npz",
        kvp=TUBE_KVP.astype(np.float32),
        energy_kev=ENERGIES_KEV.astype(np.float32),
        photons=spectra().astype(np.float32),
    )
    np.savez_compressed(
        FOLDER / "anode.npz",
        takeoff_deg=TAKEOFF_DEG.astype(np.float32),
        kvp=TAKEOFF_KVP.astype(np.float32),
        log_ratio=np.log(np.maximum(takeoff_ratio(), 1e-6)).astype(np.float16),
    )
    sections, functions = interactions()
    np.savez_compressed(
        FOLDER / "interactions.npz",
        materials=list(TRANSPORT_MATERIALS),
        energy_kev=TRANSPORT_ENERGIES_KEV.astype(np.float32),
        momentum_transfer=MOMENTUM_TRANSFER.astype(np.float32),
        sections=sections.astype(np.float32),
        functions=functions.astype(np.float32),
    )


if __name__ == "__main__":
    main()
